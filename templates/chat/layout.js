// The frame of the page: what is visible, how far the thread is scrolled, the status, and what is read out.

import { signIn } from "../shared/account.js";
import { $, setText } from "../shared/dom.js";
import { shown } from "./shown.js";
import { isReady, runningIn } from "./wire.js";

const NEAR_END_PX = 60,
  ANNOUNCE_AFTER_MS = 150;

export function layout() {
  const isSignedIn = signIn !== null,
    isBusy = isSignedIn && runningIn(shown) !== undefined;
  document.body.classList.toggle("signed-in", isSignedIn);
  $("gate").hidden = isSignedIn;
  $("body").hidden = !isSignedIn;
  $("sign-out").hidden = $("toggle-log").hidden = $("menu").hidden = !isSignedIn;
  $("welcome").hidden = $("turns").childElementCount > 0;
  $("stop").hidden = !isBusy || !isReady();
  $("send").hidden = isBusy && isReady() && !$("question").value.trim();
  setText($("send"), isSignedIn && (isBusy || !isReady()) ? "Queue" : "Send");
  $("latest").hidden = isAtEnd();
  setText($("who"), signIn?.account.user?.name ?? "");
  $("who").title = signIn?.account.user?.email ?? "";
}

/** `more` is neither read out nor shown on a phone: it may change every few seconds. */
export function setStatus(state, text, more = "") {
  $("status").dataset.state = state;
  setText($("status-text"), text);
  $("status-more").textContent = more;
}

let announcing = 0;
/** Has a screen reader say a text. */
export function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    $("announcer").textContent = text;
  }, ANNOUNCE_AFTER_MS);
}

export function isAtEnd() {
  const thread = $("thread");
  return thread.scrollHeight - thread.scrollTop - thread.clientHeight < NEAR_END_PX;
}

export function scrollToEnd(force = false) {
  const scroll = () => {
    $("thread").scrollTop = $("thread").scrollHeight;
  };
  if (force) requestAnimationFrame(() => requestAnimationFrame(scroll));
  scroll();
}
