"use strict";
// Messages that wait for the connection, or for the answer before them. Each has its client_message_id from the beginning, so
// that it starts one turn however often it has to be sent.

const MAX_QUEUED = 20, ASK_AGAIN_MS = 1000;
const queue = [];   // turns that were not sent yet, oldest first

/** Whether there was room for it. */
function enqueue(turn) {
  if (queue.length >= MAX_QUEUED) {
    notice({ code: "QUEUE_FULL", error: MAX_QUEUED + " messages are queued already. Remove one, or wait until they are sent." });
    return false;
  }
  queue.push(turn);
  drawQueue();
  announce("Queued");
  return true;
}

/** Sends what can be sent: of each conversation the oldest, when nothing is being answered there. */
function sendQueued() {
  if (!ready) return;
  for (const turn of [...queue]) {
    if (isBusy(turn.thread)) continue;
    queue.splice(queue.indexOf(turn), 1);
    start(turn);
  }
  drawQueue();
}

/** The server refused it because another tab's turn is still running there. */
function sendLater(turn, afterMs = ASK_AGAIN_MS) {
  unnamed.splice(unnamed.indexOf(turn), 1);
  turn.view?.remove();
  queue.unshift(turn);
  drawQueue();
  setTimeout(sendQueued, afterMs);
}

function removeQueued(turn) {
  const at = queue.indexOf(turn);
  if (at >= 0) queue.splice(at, 1);
  drawQueue();
  $("question").focus();
}

/** The conversation is gone. */
function dropQueued(session) {
  for (const turn of queue.filter((t) => t.session === session)) queue.splice(queue.indexOf(turn), 1);
}

function drawQueue() {
  const shown = queue.filter(isOpen);
  $("queue").hidden = shown.length === 0;
  $("queue-title").textContent = "Queued: sent when " + (ready ? "the answer has ended" : "connected again");
  $("queued").replaceChildren(...shown.map((turn) => el("li", {}, el("span", { title: turn.question }, turn.question),
    el("button", { type: "button", "aria-label": "Remove from the queue: " + turn.question, onclick: () => removeQueued(turn) }, "Remove"))));
}
