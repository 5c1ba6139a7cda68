// The panel with the details of one connection.

import { signIn } from "../shared/account.js";
import { $, el, said, setText } from "../shared/dom.js";
import { cancelTurn, kick, kickUser, lockUser, notice } from "./actions.js";
import { drawSoon, table } from "./connections.js";
import { send } from "./feed.js";
import { bytes, clock, count, duration, many, millis, now, shortDuration } from "./format.js";
import { addFrames, frameList } from "./frames.js";

/** Set by page.js: called when the width of the table has changed. */
export const on = { resize() {} };

let detail = null; // the id and the last view of the connection, and the parts of the panel

export function openDetail(id, focus = false) {
  if (detail?.id !== id) {
    const frames = frameList();
    detail = {
      id,
      view: null,
      frames,
      title: el("h3", { id: "detail-title" }, "Connection"),
      facts: el("dl", { class: "facts" }),
      turns: el("div", { class: "turns" }),
      gone: el("p", { class: "gone", hidden: true }, "This connection has ended."),
      actions: el("div", { class: "actions" }),
      close: el(
        "button",
        { type: "button", class: "quiet push", "aria-label": "Close the details", onclick: () => closeDetail(true) },
        "✕",
      ),
      shown: {},
    };
    detail.kick = el("button", { type: "button", class: "danger", onclick: () => kick(id) }, "Kick…");
    detail.kickUser = el(
      "button",
      { type: "button", class: "danger", hidden: true, onclick: () => kickUser(detail.view.user) },
      "Kick user…",
    );
    detail.noticeUser = el(
      "button",
      { type: "button", hidden: true, onclick: () => notice(detail.view.user) },
      "Notice…",
    );
    detail.lockUser = el(
      "button",
      { type: "button", class: "danger", hidden: true, onclick: () => lockUser(detail.view.user) },
      "Lock user…",
    );
    detail.actions.append(detail.kick, detail.kickUser, detail.lockUser, detail.noticeUser);
    $("detail").replaceChildren(
      el("div", { class: "top" }, detail.title, detail.close),
      el(
        "div",
        { class: "body", tabindex: "0", role: "group", "aria-labelledby": "detail-title" },
        detail.gone,
        detail.actions,
        detail.facts,
        el("h4", {}, "Turns"),
        detail.turns,
        el("h4", {}, "Frames, live: types and sizes, never texts"),
        frames,
      ),
    );
    $("detail").hidden = false;
    $("work").classList.add("with-detail");
    send({ type: "watch", connection_id: id });
    showTurns([]);
    table.selected = id;
    drawSoon();
    on.resize();
  }
  if (focus) detail.close.focus();
}

export function closeDetail(focus = false) {
  if (!detail) return;
  detail = table.selected = null;
  $("detail").hidden = true;
  $("detail").replaceChildren();
  $("work").classList.remove("with-detail");
  send({ type: "watch", connection_id: null });
  drawSoon();
  if (focus) $("grid").focus({ preventScroll: true });
}

export function onConnection({ connection_id, connection }) {
  if (detail?.id !== connection_id) return;
  detail.gone.hidden = connection !== null;
  detail.kick.disabled = connection === null;
  if (!connection) return showTurns([]);
  detail.view = connection;
  const user = connection.user;
  detail.title.replaceChildren(said(user?.name ?? "Not signed in"));
  detail.kickUser.hidden = detail.noticeUser.hidden = !user;
  detail.lockUser.hidden = !user || user.id === signIn?.account.user?.id; // the server refuses it for one's own account
  fact("State", el("span", { class: "badge", "data-state": connection.state }, connection.state));
  if (user) fact("User", said(user.email));
  if (user) fact("User id", el("code", {}, user.id));
  fact("Connection", el("code", {}, connection.id));
  fact("Address", said(connection.address));
  fact("Client", said(connection.user_agent || "–"));
  fact("Dialect", connection.dialect);
  fact("Opened", `${clock(connection.opened_at_ms)}, ${duration(now() - connection.opened_at_ms)} ago`);
  fact(
    "Received",
    `${many(connection.frames_received, "frame")}, ${bytes(connection.bytes_received)}, last ${shortDuration(now() - connection.last_received_at_ms)} ago`,
  );
  fact(
    "Sent",
    `${many(connection.frames_sent, "frame")}, ${bytes(connection.bytes_sent)}, last ${shortDuration(now() - connection.last_sent_at_ms)} ago`,
  );
  fact("Tokens", count(connection.tokens_sent));
  fact("Waiting", bytes(connection.bytes_waiting));
  fact("Ping", millis(connection.ping_ms));
  fact("Violations", count(connection.violations));
  if (connection.conversations) fact("Subscribed to", many(connection.conversations.length, "conversation"));
  showTurns(connection.turns ?? []);
}

/** Only what has changed is drawn anew, so that a text can be selected. */
function fact(name, value) {
  const text = typeof value === "string" ? value : value.textContent;
  const known = detail.shown[name];
  if (known?.text === text) return;
  if (known) {
    known.dd.replaceChildren(value);
    known.text = text;
  } else {
    const dd = el("dd", {}, value);
    detail.shown[name] = { dd, text };
    detail.facts.append(el("dt", {}, name), dd);
  }
}

function showTurns(turns) {
  const known = new Map([...detail.turns.children].filter((node) => node.turnId).map((node) => [node.turnId, node]));
  const nodes = turns.map((turn) => {
    const node = known.get(turn.turn_id) ?? turnNode(turn);
    setText(node.step, turn.step ?? "waiting");
    const parts = [
      ["written", turn.written_seq],
      ["acknowledged", turn.acknowledged_seq],
    ].filter(([, seq]) => seq !== null && seq !== undefined);
    setText(
      node.line,
      `head ${turn.head_seq ?? "–"}${parts.map(([name, seq]) => ` · ${name} ${seq}`).join("")}${turn.lag ? ` · lag ${turn.lag}` : ""}`,
    );
    return node;
  });
  detail.noTurns ??= el("p", { class: "soft" }, "No turn is running.");
  if (!nodes.length) nodes.push(detail.noTurns);
  if (nodes.length !== detail.turns.childElementCount || nodes.some((node, i) => detail.turns.children[i] !== node))
    detail.turns.replaceChildren(...nodes);
}

function turnNode(turn) {
  const step = el("b"),
    line = el("span", { class: "soft" });
  const node = el(
    "div",
    { class: "turn" },
    el(
      "div",
      { class: "line" },
      step,
      el("button", { type: "button", class: "danger push", onclick: () => cancelTurn(turn.turn_id) }, "Cancel…"),
    ),
    line,
    el("code", { class: "soft" }, turn.turn_id),
  );
  return Object.assign(node, { turnId: turn.turn_id, step, line });
}

export function onFrames({ connection_id, frames, left_out }) {
  if (detail?.id === connection_id) addFrames(detail.frames, frames, left_out);
}

/** Asks for the frames of the connection that is shown, over a new feed. */
export function watchAgain() {
  if (detail) send({ type: "watch", connection_id: detail.id });
}

export const hasDetail = () => detail !== null;
