// Questions that wait for the connection, or for the answer before them. Each has its client_message_id from the beginning, so
// that it starts one turn however often it has to be sent.

import { $, el } from "../shared/dom.js";
import { announce } from "./layout.js";
import { dismissErrors, showError } from "./notices.js";
import { isShown, shown } from "./shown.js";
import { isReady, newTurn, runningIn, ask as send } from "./wire.js";

const MAX_QUEUED = 20,
  ASK_AGAIN_MS = 1000;
const queue = []; // turns that were not sent yet, oldest first

/** Asks in a conversation: now, or as soon as the connection and the answers before it allow. Returns false when the queue is full. */
export function ask(question, conversation = shown) {
  if (!question.trim()) return true;
  const turn = newTurn({ question, conversation });
  if (!isReady() || runningIn(conversation)) return enqueue(turn);
  dismissErrors();
  send(turn);
  return true;
}

function enqueue(turn) {
  if (queue.length >= MAX_QUEUED) {
    showError({
      code: "QUEUE_FULL",
      error: `${MAX_QUEUED} messages are queued already. Remove one, or wait until they are sent.`,
    });
    return false;
  }
  queue.push(turn);
  drawQueue();
  announce("Queued");
  return true;
}

/** Sends what can be sent: the oldest question of each conversation in which no answer is being written. */
export function sendQueued() {
  if (!isReady()) return;
  for (const turn of [...queue]) {
    if (runningIn(turn.conversation)) continue;
    queue.splice(queue.indexOf(turn), 1);
    send(turn);
  }
  drawQueue();
}

/** Queues a turn that the server refused because another tab's turn is still running in the conversation. */
export function sendLater(turn, afterMs = ASK_AGAIN_MS) {
  queue.unshift(turn);
  drawQueue();
  setTimeout(sendQueued, afterMs);
}

function remove(turn) {
  const at = queue.indexOf(turn);
  if (at >= 0) queue.splice(at, 1);
  drawQueue();
  $("question").focus();
}

/** Drops the questions of a conversation that was deleted. */
export function dropQueued(conversationId) {
  for (const turn of queue.filter(({ conversation }) => conversation.id === conversationId))
    queue.splice(queue.indexOf(turn), 1);
}

export function clearQueue() {
  queue.length = 0;
}

export function drawQueue() {
  const waiting = queue.filter(isShown);
  $("queue").hidden = waiting.length === 0;
  $("queue-title").textContent = `Queued: sent when ${isReady() ? "the answer has ended" : "connected again"}`;
  $("queued").replaceChildren(
    ...waiting.map((turn) =>
      el(
        "li",
        {},
        el("span", { title: turn.question }, turn.question),
        el(
          "button",
          { type: "button", "aria-label": `Remove from the queue: ${turn.question}`, onclick: () => remove(turn) },
          "Remove",
        ),
      ),
    ),
  );
}
