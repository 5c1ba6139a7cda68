// The chat page: signing in, and what people do. wire.js beside it is the raw API.

import { SwitchboardError } from "../../clients/javascript/account.mjs";
import { authenticate, forgetSignIn, keepUser, signIn, signInWith, watchOtherTabs } from "../shared/account.js";
import { readStored, store } from "../shared/browser.js";
import { $, onSubmit, tabs } from "../shared/dom.js";
import {
  catchUp,
  loadConversations,
  onUnavailable,
  openConversation,
  select,
  startNew,
  subscribeToShown,
  toggleMenu,
} from "./conversations.js";
import { log } from "./frames.js";
import { announce, isAtEnd, layout, scrollToEnd, setStatus } from "./layout.js";
import { dismissErrors, errorBox, showError, showNotice } from "./notices.js";
import { ask, clearQueue, sendLater, sendQueued } from "./queue.js";
import { isShown, shown } from "./shown.js";
import { showTips } from "./sources.js";
import { showStarters } from "./starters.js";
import { draw, findConnection, giveUp, loseConnection, reconnectNow, show } from "./thread.js";
import { cancel, connect, connection, disconnect, isReady, on, runningIn, runningTurns, settings } from "./wire.js";

// ── Signing in and out ──────────────────────────────────────────────────────────────────────────────────────────────

const gateError = (error) => $("gate-error").replaceChildren(...(error ? [errorBox(error)] : []));
const pickTab = tabs([...document.querySelectorAll("[role=tab]")], () => gateError(null));

function enter() {
  gateError(null);
  for (const form of document.querySelectorAll("#gate form")) form.reset();
  connect(signIn);
  layout();
  $("question").focus();
}

/** Forgets the account; `reason` is the error that forced it, if one did. */
function signOut(reason = null) {
  forgetSignIn(!reason);
  disconnect();
  clearQueue();
  findConnection();
  select({ id: null });
  for (const id of ["turns", "conversations", "announcements"]) $(id).replaceChildren();
  dismissErrors();
  setStatus("idle", "Signed out");
  layout();
  pickTab($("tab-login"));
  gateError(reason);
}

onSubmit(
  $("form-register"),
  ({ name, email, password }) => authenticate("/api/v1/auth/register", { name, email, password }).then(enter),
  gateError,
);
onSubmit(
  $("form-login"),
  ({ email, password }) => authenticate("/api/v1/auth/login", { email, password }).then(enter),
  gateError,
);
onSubmit(
  $("form-token"),
  ({ token }) => {
    signInWith({
      access_token: token.trim().replace(/^Bearer\s+/i, ""),
      refresh_token: null,
      expires_at: 0,
      user: null,
    });
    enter();
  },
  gateError,
);
watchOtherTabs(signOut);
$("sign-out").onclick = () => signOut();

// ── What the connection tells ───────────────────────────────────────────────────────────────────────────────────────

on.trace = log;

on.status = ({ state, attempt, delayMs, error }) => {
  if (state !== "open" && signIn) loseConnection();
  if (state === "connecting") setStatus("busy", attempt ? "Reconnecting…" : "Connecting…");
  if (state === "reconnecting") setStatus("busy", "Reconnecting", ` in ${Math.max(1, Math.round(delayMs / 1000))} s`);
  if (state === "open") setStatus("online", "Online");
  if (state !== "closed" || !error) return;
  if (!(error instanceof SwitchboardError))
    reportError(error); // a defect of this page
  // A close code is a number; other codes mean that the sign-in is over.
  else if (typeof error.code !== "number") return signOut(error);
  giveUp();
  setStatus("offline", "Closed", `: ${error.error ?? error.message}`);
  showError(error, "Connect again", reconnectNow);
};

on.ready = (frame, isNew) => {
  keepUser(frame);
  layout();
  if (isNew) {
    findConnection();
    loadConversations();
    if (shown.id && $("turns").childElementCount === 0) openConversation(shown.id);
    else subscribeToShown();
  }
  sendQueued();
};

/** An answer that is being written is still read to its end: the server closes the connection after it. */
on.signInEnds = (error) => {
  if (!error)
    return showError({
      code: "AUTH_EXPIRING",
      error: "This token ends soon and cannot be renewed. Sign in again, or paste another.",
    });
  if (!isReady() || !runningTurns().length) return signOut(error);
  const { code, error: text } = error;
  showError({ code, error: `${text} Your sign-in ends with this answer.` }, "Sign in again", () => signOut(error));
};

on.shown = (turn) => {
  if (!isShown(turn)) return;
  show(turn);
  if (turn.turnId === null) scrollToEnd(true);
};
on.changed = draw;
on.withdrawn = (turn) => turn.view?.remove();
on.ended = (turn) => {
  if (turn.error) announce(`Error: ${turn.error.error}`);
  else {
    announce((turn.finishReason === "cancelled" ? "Stopped. " : "Answer: ") + turn.text);
    loadConversations();
  }
  sendQueued();
};
on.refused = (turn, afterMs) => {
  turn.view?.remove();
  sendLater(turn, afterMs);
};
on.unavailable = onUnavailable;
on.conversation = (conversation) => {
  if (conversation === shown) select(conversation);
  loadConversations();
};
on.reload = catchUp;
on.notice = showNotice;
on.error = (error) => showError(error);
on.latency = (ms) => setStatus("online", "Online", ` · ${ms} ms`);

// ── What people do ──────────────────────────────────────────────────────────────────────────────────────────────────

function fitQuestion() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function submitQuestion() {
  const text = $("question").value;
  if (!text.trim() || !ask(text)) return;
  $("question").value = "";
  fitQuestion();
  layout();
}

function stop() {
  const turn = runningIn(shown);
  if (turn?.turnId && isReady()) cancel(turn);
}

$("composer").onsubmit = (event) => {
  event.preventDefault();
  submitQuestion();
};
$("question").oninput = () => {
  fitQuestion();
  layout();
};
$("question").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submitQuestion();
  }
};
document.onkeydown = (event) => {
  if (event.key !== "Escape") return;
  if ($("side").classList.contains("shown")) {
    toggleMenu(false);
    $("menu").focus();
  } else stop();
};
showStarters((question) => {
  ask(question);
  layout();
  $("question").focus();
});
$("stop").onclick = () => {
  stop();
  $("question").focus();
};
$("new").onclick = startNew;
$("more").onclick = () => loadConversations(true);
$("menu").onclick = () => {
  const isOpening = !$("side").classList.contains("shown");
  toggleMenu(isOpening);
  if (isOpening) $("new").focus();
};
$("cut").onclick = () => connection?.cut();
for (const [id, name] of [
  ["dialect", "dialect"],
  ["auth-way", "authenticateBy"],
]) {
  settings[name] = $(id).value = readStored(`switchboard.${id}`) ?? $(id).value;
  $(id).onchange = () => {
    settings[name] = $(id).value;
    store(`switchboard.${id}`, settings[name]);
    reconnectNow();
  };
}
$("latest").onclick = () => scrollToEnd(true);
$("thread").onscroll = () => {
  $("latest").hidden = isAtEnd();
};
addEventListener("online", () => {
  if (signIn && !isReady()) reconnectNow();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && isReady()) loadConversations();
});

const example = document.querySelector("#gate pre").firstChild;
example.data = example.data.replace("ws://localhost:8000", location.origin.replace("http", "ws"));
showTips();
layout();
if (signIn) enter();
