// The operators' page. Live data comes over /ws/ops, actions go over REST: docs/OPERATIONS.md.

import { SwitchboardError } from "../../clients/javascript/account.mjs";
import { authenticate, forgetSignIn, keepUser, signIn, watchOtherTabs } from "../shared/account.js";
import { $, onSubmit, setText, tabs } from "../shared/dom.js";
import { notice } from "./actions.js";
import { forgetAudit, loadAudit, onAudit } from "./audit.js";
import { chooseSpan, drawCharts, makeCards, onHistory, recolourCharts, resizeCharts } from "./charts.js";
import * as connections from "./connections.js";
import * as detail from "./detail.js";
import * as dialog from "./dialog.js";
import { drain } from "./drain.js";
import * as feed from "./feed.js";
import { onGoingAway, onStats } from "./overview.js";
import { settings } from "./settings.js";
import { errorBox, toastError } from "./toast.js";
import * as users from "./users.js";

const RESIZE_AFTER_MS = 60;

// ── Signing in and out ──────────────────────────────────────────────────────────────────────────────────────────────

const gateError = (error) => $("gate-error").replaceChildren(...(error ? [errorBox(error)] : []));

function layout() {
  const isSignedIn = signIn !== null;
  $("gate").hidden = isSignedIn;
  $("body").hidden = $("sign-out").hidden = !isSignedIn;
  setText($("who"), signIn?.account.user?.name ?? "");
  $("who").title = signIn?.account.user?.email ?? "";
}

function enter() {
  gateError(null);
  layout();
  forgetAudit();
  users.forgetUsers();
  pickPanel($("tab-connections"));
  feed.connect(signIn);
  drawCharts();
  $("grid").focus({ preventScroll: true });
}

/** Forgets the account; `reason` is the error that forced it, if one did. */
function signOut(reason = null) {
  forgetSignIn(true);
  feed.disconnect();
  detail.closeDetail();
  if ($("ask").open) $("ask").close();
  setStatus("idle", "Signed out");
  layout();
  gateError(reason);
  $("form-login").elements.email.focus();
}

onSubmit(
  $("form-login"),
  async ({ email, password }, form) => {
    await authenticate("/api/v1/auth/login", { email, password });
    form.reset();
    enter();
  },
  gateError,
);
watchOtherTabs(signOut);
$("sign-out").onclick = () => signOut();

// ── The feed ────────────────────────────────────────────────────────────────────────────────────────────────────────

function setStatus(state, text) {
  $("status").dataset.state = state;
  setText($("status"), text);
}

feed.on.status = ({ state, attempt, delayMs, error }) => {
  if (state === "connecting") setStatus("busy", attempt ? "Reconnecting…" : "Connecting…");
  if (state === "open") setStatus("online", "Live");
  if (state === "reconnecting") setStatus("busy", `Reconnecting in ${Math.max(1, Math.round(delayMs / 1000))} s`);
  if (state !== "closed" || !error) return;
  if (!(error instanceof SwitchboardError)) {
    setStatus("offline", "Closed");
    reportError(error); // a defect of this page
    return;
  }
  if (error.code !== "FORBIDDEN") return signOut(error);
  signOut({
    code: error.code,
    error:
      "This account is not an operator's. An operator of the server gives it the role; the first one gets it on the server's machine, by: switchboard user set-role EMAIL operator",
  });
};

feed.on.ready = (frame, isNew) => {
  keepUser(frame);
  layout();
  if (!isNew) return;
  connections.askForRows(true);
  detail.watchAgain();
  loadAudit(false);
};

feed.on.signInEnds = signOut;

Object.assign(feed.handlers, {
  history: onHistory,
  stats: onStats,
  connections: connections.onConnections,
  connection: detail.onConnection,
  frames: detail.onFrames,
  audit: ({ entries }) => onAudit(entries),
  going_away: onGoingAway,
  error: toastError,
});

// ── What people do ──────────────────────────────────────────────────────────────────────────────────────────────────

const pickPanel = tabs(["tab-connections", "tab-users"].map($), (tab) => {
  $("matches").hidden = tab.id !== "tab-connections";
  if (tab.id === "tab-users") users.loadUsers();
  else connections.drawSoon();
});

connections.on.open = detail.openDetail;

users.on.connectionsOf = (user) => {
  pickPanel($("tab-connections"));
  $("state").value = $("dialect").value = "";
  $("q").value = user.id;
  connections.toTop();
  $("grid").focus();
};

dialog.on.done = () => {
  loadAudit(false);
  users.loadUsers({ again: true });
};

let resizeTimer = 0;
function onResize() {
  clearTimeout(resizeTimer);
  resizeTimer = setTimeout(() => {
    resizeCharts();
    connections.askForRows();
    connections.drawSoon();
  }, RESIZE_AFTER_MS);
}
detail.on.resize = onResize;

function showTheme() {
  const chosen = theme.chosen(),
    label = `Colours: ${chosen ?? "as the system"}`;
  setText($("theme"), { dark: "☾", light: "☀" }[chosen] ?? "◐");
  $("theme").setAttribute("aria-label", label);
  $("theme").title = label;
  recolourCharts();
}

$("theme").onclick = () => theme.next();
document.addEventListener("theme", showTheme);
$("span").onclick = ({ target }) => {
  if (target.dataset.minutes) chooseSpan(target);
};
$("do-notice").onclick = () => notice();
$("do-settings").onclick = settings;
$("do-drain").onclick = drain;
$("audit-more").onclick = () => loadAudit(true);
document.onkeydown = (event) => {
  if ($("ask").open || $("body").hidden) return;
  const isWriting = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape" && detail.hasDetail()) {
    event.preventDefault();
    detail.closeDetail(true);
  } else if (event.key === "Escape" && event.target === $("q")) $("grid").focus();
  else if (event.key === "/" && !isWriting) {
    event.preventDefault();
    $("q").focus();
  }
};
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) drawCharts();
});
addEventListener("resize", onResize);
addEventListener("online", () => {
  if (signIn && !feed.isReady()) feed.connection.reconnect();
});

makeCards();
connections.makeHead();
showTheme();
layout();
if (signIn) enter();
