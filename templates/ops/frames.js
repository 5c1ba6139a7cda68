// The live view of a connection's frames: their types and sizes, never their texts.

import { el } from "../shared/dom.js";
import { clock } from "./format.js";

const MAX_FRAMES = 300,
  NEAR_END_PX = 40;

export const frameList = () =>
  el("ol", { id: "frames", tabindex: "0", "aria-label": "Types and sizes of frames, oldest first" });

export function addFrames(list, frames, leftOut) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX;
  const nodes = frames.map(({ direction, type, bytes: size, at_ms, seq }) =>
    el(
      "li",
      {},
      el("time", {}, clock(at_ms, true)),
      el(
        "span",
        { class: direction, title: direction === "in" ? "from the client" : "to the client" },
        direction === "in" ? "↑" : "↓",
      ),
      el("span", {}, type + (seq === undefined ? "" : ` #${seq}`)),
      el("span", { class: "size" }, `${size} B`),
    ),
  );
  if (leftOut) nodes.unshift(el("li", { class: "left-out" }, `${leftOut} more, too fast to be shown`));
  list.append(...nodes);
  while (list.childElementCount > MAX_FRAMES) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}
