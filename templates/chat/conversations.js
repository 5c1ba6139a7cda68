// The list of conversations, and the one that is open.

import { api, signIn } from "../shared/account.js";
import { $, el } from "../shared/dom.js";
import { answeredTurn, byTurn, messagesOf } from "./history.js";
import { layout, scrollToEnd } from "./layout.js";
import { showError } from "./notices.js";
import { drawQueue, dropQueued, sendQueued } from "./queue.js";
import { isShown, setShown, shown } from "./shown.js";
import { show } from "./thread.js";
import { isReady, newTurn, resume, runningTurns, subscribe, turns } from "./wire.js";

let next = null; // the page of the list after those that are shown
let opening = 0; // counts clicks on conversations: the latest one wins

export async function loadConversations(more = false) {
  try {
    const page = await api("GET", `/api/v1/conversations${more && next ? `?before=${next}` : ""}`);
    next = page.next ?? null;
    $("more").hidden = !next;
    const items = page.conversations.map(itemOf);
    if (more) $("conversations").append(...items);
    else if (items.length) $("conversations").replaceChildren(...items);
    else $("conversations").replaceChildren(el("li", { class: "hint" }, "Your questions are kept here."));
  } catch (error) {
    if (signIn) showError(error);
  }
}

function itemOf({ conversation_id: id, title, updated_at_ms: at }) {
  const when = new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const pick = el(
    "button",
    { type: "button", class: "pick", onclick: () => openConversation(id) },
    el("span", {}, title),
    el("small", {}, when),
  );
  const drop = el(
    "button",
    {
      type: "button",
      class: "drop",
      "aria-label": `Delete ${title}`,
      title: "Delete",
      onclick: () => deleteConversation(id, title),
    },
    "✕",
  );
  const item = el("li", { "data-id": id }, pick, drop);
  mark(item);
  return item;
}

function mark(item) {
  const isOpen = item.dataset.id === shown.id;
  item.classList.toggle("open", isOpen);
  if (isOpen) item.firstChild.setAttribute("aria-current", "true");
  else item.firstChild.removeAttribute("aria-current");
}

export function select(conversation) {
  setShown(conversation);
  for (const item of $("conversations").children) if (item.dataset.id) mark(item);
  drawQueue();
}

export async function openConversation(id) {
  const click = ++opening;
  toggleMenu(false);
  try {
    const messages = await messagesOf(id);
    if (click !== opening) return;
    $("turns").replaceChildren();
    select({ id });
    showHistory(messages);
    for (const turn of runningTurns()) if (isShown(turn) && !turn.view?.isConnected) show(turn);
    scrollToEnd(true);
    subscribeToShown();
    sendQueued();
  } catch (error) {
    if (click !== opening) return;
    if (error.status === 404 && shown.id === id) startNew();
    else showError(error);
  }
}

/** Shows the turns of the open conversation's messages that are not shown yet, each in its place. */
function showHistory(messages) {
  let before = null;
  for (const [turnId, parts] of byTurn(messages)) {
    const question = parts.find(({ role }) => role === "user"),
      answer = parts.find(({ role }) => role === "assistant");
    let turn = turns.get(turnId);
    if (!turn) {
      turn = newTurn({
        question: question?.content ?? null,
        conversation: shown,
        turnId,
        ...(answer ? answeredTurn(answer) : {}),
      });
      turns.set(turnId, turn);
      // Asked, and no answer stored yet: it is being written, or was lost. Resuming tells which.
      if (!answer && isReady()) resume(turn);
    }
    if (!turn.view?.isConnected) {
      show(turn);
      before?.after(turn.view);
    }
    before = turn.view;
  }
}

/** Has the turns that other tabs start in the open conversation delivered. */
export function subscribeToShown() {
  const last = [...$("turns").children].map(({ turn }) => turn).findLast(({ turnId }) => turnId);
  if (!isReady() || !shown.id || (last && !last.ended)) return; // resuming a turn does the same
  subscribe(shown, last?.isGone ? null : last);
}

/** The server cannot replay the last turn that is shown. */
export function onUnavailable(turn) {
  if (!isShown(turn) || turn.isGone) return;
  turn.isGone = true;
  subscribeToShown();
}

/** Other tabs asked more than the server replays: what is missing is in the history. */
export async function catchUp(id) {
  if (id !== shown.id) return;
  try {
    const messages = await messagesOf(id, ([first]) => turns.has(first?.turn_id));
    if (id !== shown.id) return;
    showHistory(messages);
    subscribeToShown();
  } catch (error) {
    showError(error, "Try again", () => catchUp(id));
  }
}

async function deleteConversation(id, title) {
  if (!confirm(`Delete “\u2068${title}\u2069”?`)) return; // isolated, whatever its direction
  try {
    await api("DELETE", `/api/v1/conversations/${id}`);
    dropQueued(id);
    if (shown.id === id) startNew();
    await loadConversations();
    $("new").focus();
  } catch (error) {
    showError(error);
  }
}

export function startNew() {
  opening++;
  $("turns").replaceChildren();
  select({ id: null });
  toggleMenu(false);
  layout();
  $("question").focus();
}

/** Shows or hides the list on a phone. */
export function toggleMenu(isShown) {
  $("side").classList.toggle("shown", isShown);
  $("menu").setAttribute("aria-expanded", String(isShown));
}
