// Boxes with errors, and with operators' notices.

import { $, el } from "../shared/dom.js";
import { isAtEnd, scrollToEnd } from "./layout.js";

const MAX_NOTICES = 3,
  TICK_MS = 250;

/** A box with an error; the button `action` is enabled after the delay that the error asks for. */
export function errorBox(
  { code = "ERROR", error, message, correlationId, retryAfterMs },
  action = null,
  onclick = () => {},
) {
  const box = el(
    "div",
    { class: "failure", title: correlationId && `correlation_id ${correlationId}` },
    el("code", {}, code),
    el("p", {}, error ?? message),
  );
  if (!action) return box;
  const button = el("button", { type: "button", onclick }, action),
    until = Date.now() + (retryAfterMs ?? 0);
  const tick = () => {
    const leftS = Math.ceil((until - Date.now()) / 1000);
    button.disabled = leftS > 0;
    button.textContent = leftS > 0 ? `${action} in ${leftS} s` : action;
    if (leftS > 0) setTimeout(tick, TICK_MS);
  };
  tick();
  box.append(button);
  return box;
}

/** Shows an error above the question, in place of the one before. */
export function showError(error, action = "Dismiss", onclick = () => {}) {
  const box = errorBox(error, action, () => {
    box.remove();
    onclick();
  });
  add($("failures"), box, 1);
}

/** Shows an operator's message until it is dismissed. */
export function showNotice({ level, message }) {
  const dismiss = () => {
    box.remove();
    $("question").focus();
  };
  const box = errorBox({ code: level === "warning" ? "Warning" : "Notice", error: message }, "Dismiss", dismiss);
  box.classList.add("notice", level);
  add($("announcements"), box, MAX_NOTICES);
}

export const dismissErrors = () => $("failures").replaceChildren();

/** A box above an answer must not push its end out of sight. */
function add(list, box, max) {
  const wasAtEnd = isAtEnd();
  list.append(box);
  while (list.childElementCount > max) list.firstChild.remove();
  if (wasAtEnd) scrollToEnd();
}
