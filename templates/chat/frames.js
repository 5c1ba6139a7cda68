// The log of raw frames.

import { copyText, readStored, store } from "../shared/browser.js";
import { $, el } from "../shared/dom.js";
import { announce } from "./layout.js";

const MAX_ENTRIES = 400,
  MAX_CHARS = 4000,
  NEAR_END_PX = 40;
const ARROWS = { sent: "↑ ", received: "↓ ", note: "· " };
const DIRECTION_MARKS = /[\u202a-\u202e\u2066-\u2069]/g; // characters that change the direction of text

/** Logs what goes over the wire: a frame that was `sent` or `received`, or a `note`. */
export function log(kind, text, frame) {
  const shown = frame?.type === "auth" ? JSON.stringify({ ...frame, token: `${frame.token.slice(0, 8)}…` }) : text;
  const cut = shown.length > MAX_CHARS ? `${shown.slice(0, MAX_CHARS)}… (${shown.length} characters)` : shown;
  const plain = cut.replace(DIRECTION_MARKS, (mark) => `\\u${mark.charCodeAt(0).toString(16)}`); // as JSON may write it
  const isError = frame?.type === "error" || frame?.type === "auth_error";
  const frames = $("frames"),
    wasAtEnd = frames.scrollHeight - frames.scrollTop - frames.clientHeight < NEAR_END_PX,
    now = new Date();
  const time = `${now.toLocaleTimeString([], { hour12: false })}.${String(now.getMilliseconds()).padStart(3, "0")}`;
  frames.append(
    el(
      "li",
      { class: kind + (isError ? " wrong" : "") },
      el("time", {}, time),
      ARROWS[kind],
      el("b", {}, frame ? (frame.type ?? "?") : ""),
      `${frame ? " " : ""}${plain}`,
    ),
  );
  while (frames.childElementCount > MAX_ENTRIES) frames.firstChild.remove();
  if (wasAtEnd) frames.scrollTop = frames.scrollHeight;
}

function toggle(isShown) {
  $("log").hidden = !isShown;
  $("toggle-log").setAttribute("aria-expanded", String(isShown));
  store("switchboard.log", isShown);
  $("frames").scrollTop = $("frames").scrollHeight;
}

$("toggle-log").onclick = () => toggle($("log").hidden);
$("clear-log").onclick = () => $("frames").replaceChildren();
$("copy-log").onclick = async () => {
  const text = [...$("frames").children].map((line) => line.textContent).join("\n");
  await copyText(text).then(
    () => announce("Copied"),
    () => announce("The browser refused to copy"),
  );
};
toggle(readStored("switchboard.log") ?? false);
