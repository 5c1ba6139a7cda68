// The raw chat API: every frame that this page sends over /ws/chat, and what it does with each frame that comes back. Read it from top to
// bottom; docs/WEBSOCKET.md describes the frames. What is the same for every client (when to reconnect, how to renew a token, when to
// ping) is in clients/javascript/connection.mjs, and an application would rather use switchboard-client.mjs beside it.

import { SwitchboardError } from "../../clients/javascript/account.mjs";
import { Connection, webSocketUrl } from "../../clients/javascript/connection.mjs";
import { randomId, sha256 } from "../../clients/javascript/fallbacks.mjs";
import { api } from "../shared/account.js";
import { answeredTurn, citationsOf, messagesOf, suggestionsOf } from "./history.js";

/** Events for the rest of the page, which replaces these functions. */
export const on = {
  status() {}, // of the connection
  ready() {}, // signed in: the frame, and whether the connection is new
  trace() {}, // "sent", "received" or "note"; the text; the frame
  shown() {}, // a turn that is to be shown
  changed() {}, // a turn that is to be drawn again
  withdrawn() {}, // a turn that is not to be shown after all
  ended() {}, // a turn that has ended: with an answer, or with an error
  refused() {}, // a turn that has to wait, and for how many milliseconds: another tab's is running
  unavailable() {}, // a turn that the server can no longer replay
  conversation() {}, // a conversation that has got its id
  reload() {}, // the id of a conversation whose history has to be read again
  notice() {}, // an operator's message
  error() {}, // an error that belongs to no turn
  latency() {}, // milliseconds from a ping to its pong
  signInEnds() {}, // the server will not renew the token
};

/** The settings of the page for connecting. */
export const settings = { dialect: "chat.v2", authenticateBy: "subprotocol" };

export let connection = null;
/** turn_id → turn: the turns of this page that are or were live. */
export const turns = new Map();
/** Turns whose turn_id the server has not named yet, oldest first. */
export const unnamed = [];

// ── Connecting: three ways to hand over the access token ────────────────────────────────────────────────────────────

async function handshake(token) {
  const url = webSocketUrl("/ws/chat", location.href),
    protocols = [settings.dialect];
  switch (settings.authenticateBy) {
    case "message": // in the first frame
      return { url, protocols, firstFrame: { type: "auth", token } };
    case "ticket": {
      // in the URL, which may be logged: therefore good for one connection, for a few seconds
      const { ticket } = await api("POST", "/api/v1/auth/ws-ticket");
      url.searchParams.set("ticket", ticket);
      return { url, protocols };
    }
    default: // as a subprotocol, the only header that browsers let a page choose
      return { url, protocols: [...protocols, `bearer.${token}`] };
  }
}

/** Connects as the user, and stays connected. */
export function connect(signIn) {
  connection?.close();
  connection = new Connection(signIn, handshake, {
    onFrame: receive,
    onReady: onAuthSuccess,
    onStatus: (status) => on.status(status),
    onTrace: (...what) => on.trace(...what),
    onRenewalRefused: (error) => on.signInEnds(error),
  });
  connection.open();
}

/** Disconnects, and forgets every turn. */
export function disconnect() {
  connection?.close();
  connection = null;
  turns.clear();
  unnamed.length = 0;
}

// ── Frames to the server ────────────────────────────────────────────────────────────────────────────────────────────

/** A question and its answer. Its conversation has the id null until its first turn has started. */
export const newTurn = (fields) => ({
  question: null,
  conversation: { id: null },
  turnId: null,
  clientMessageId: randomId(),
  text: "",
  lastSeq: -1,
  lastIndex: -1,
  reasoning: "",
  sources: [],
  citations: [],
  suggestions: [],
  pieces: [],
  resuming: false,
  step: null,
  stepMessage: "",
  hasThought: false,
  specialist: null,
  messageId: null,
  metadata: null,
  feedback: null,
  finishReason: null,
  error: null,
  ended: false,
  resumes: 0,
  verified: null,
  view: null,
  ...fields,
});

/** Asks. */
export function ask(turn) {
  unnamed.push(turn);
  on.shown(turn);
  sendMessage(turn);
}

/** The same client_message_id may be sent again after a cut: the server starts one turn for it, never two. */
function sendMessage({ question, conversation, clientMessageId }) {
  connection.send({
    type: "message",
    message: question,
    ...(conversation.id ? { conversation_id: conversation.id } : {}),
    client_message_id: clientMessageId,
  });
}

/** Asks for the tokens after the last one: after a cut, a reload, or a gap. */
export function resume(turn) {
  turn.resuming = true;
  connection.send({
    type: "resume",
    conversation_id: turn.conversation.id,
    turn_id: turn.turnId,
    last_seq: turn.lastSeq,
    last_index: turn.lastIndex,
  });
}

/** Opens a conversation: from then on, turns that other tabs start there are delivered here. `last` is the last turn that is known. */
export function subscribe(conversation, last) {
  connection.send({
    type: "resume",
    conversation_id: conversation.id,
    ...(last ? { turn_id: last.turnId, last_seq: last.lastSeq } : {}),
  });
}

/** Stops an answer. It ends in `complete` with the finish_reason `cancelled`. */
export function cancel(turn) {
  connection.send({ type: "cancel", turn_id: turn.turnId });
}

// ── Frames from the server ──────────────────────────────────────────────────────────────────────────────────────────

function receive(frame) {
  if (isKnown(frame)) return;
  switch (frame.type) {
    case "progress":
      return onProgress(frame);
    case "token":
      return onToken(frame);
    case "reasoning":
      return onReasoning(frame);
    case "part":
      return onPart(frame);
    case "complete":
      return onComplete(frame);
    case "resumed":
      return onResumed(frame);
    case "error":
      return onError(frame);
    case "heartbeat":
      return onHeartbeat(frame);
    case "pong":
      return on.latency(Math.max(1, Math.round(performance.now() - frame.id)));
    case "notice":
      return on.notice(frame);
    case "auth_expiring":
      if (!connection.canRenew) on.signInEnds(null);
  }
}

/** Continues after a cut: turns with a turn_id after their last token, others by sending their message again. */
function onAuthSuccess(frame, isNew) {
  if (isNew) for (const turn of turns.values()) if (!turn.ended) resume(turn);
  unnamed.forEach(sendMessage);
  on.ready(frame, isNew);
}

/** The dialects differ in a few names. */
const conversationOf = (frame) => frame.conversation_id ?? frame.session_id;
const STEPS = { agent_routing: "routing", rag_retrieval: "retrieval" };

function onProgress(frame) {
  const turn = turnOf(frame);
  turn.step = STEPS[frame.step] ?? frame.step;
  turn.stepMessage = frame.message;
  turn.hasThought ||= frame.step === "thinking";
  turn.specialist = frame.specialist ?? frame.agent ?? turn.specialist;
  turn.sources = frame.sources ?? turn.sources; // before the text that cites them
  on.changed(turn);
}

function onToken(frame) {
  const turn = turnOf(frame),
    firstSeq = frame.first_seq ?? frame.seq;
  if (turn.ended || turn.resuming || frame.seq <= turn.lastSeq) return; // known already, or about to come again
  if (firstSeq !== turn.lastSeq + 1) return resume(turn); // something is missing: ask for the rest
  turn.pieces.push({ firstSeq, at: turn.text.length });
  turn.text += frame.token;
  turn.lastSeq = frame.seq;
  if (turn.step !== "generating") Object.assign(turn, { step: "generating", stepMessage: "" });
  on.changed(turn);
}

/** Text in which the model reasons before it answers; never part of the answer. */
function onReasoning(frame) {
  const turn = turnOf(frame);
  if (turn.ended || turn.resuming) return;
  turn.reasoning += frame.delta;
  on.changed(turn);
}

/** A typed part of the answer. */
function onPart(frame) {
  const turn = turnOf(frame);
  if (turn.ended || turn.resuming) return;
  turn.citations = [...turn.citations, ...citationsOf([frame])];
  turn.suggestions = [...turn.suggestions, ...suggestionsOf([frame])];
  on.changed(turn);
}

/** Whether the turn had this frame before: a `resume` may bring those after the last token again. */
function isKnown(frame) {
  const turn = turns.get(frame.turn_id);
  if (!turn || turn.resuming || frame.index === undefined || frame.type === "resumed") return false;
  if (frame.index <= turn.lastIndex) return true;
  turn.lastIndex = frame.index;
  return false;
}

/** The whole answer, to compare with the tokens. */
async function onComplete(frame) {
  const turn = turnOf(frame);
  if (turn.ended || turn.resuming) return;
  const isWhole = turn.text === frame.response;
  Object.assign(turn, {
    ended: true,
    messageId: frame.message_id,
    finishReason: frame.finish_reason,
    metadata: frame.metadata,
    // The list that `progress` had, unless the turn was replayed without it.
    sources: turn.sources.length ? turn.sources : (frame.metadata.sources ?? []),
    text: frame.response,
  });
  on.changed(turn);
  on.ended(turn);
  turn.verified = (await sha256(turn.text)) === frame.sha256 && isWhole;
  on.changed(turn);
}

function onResumed(frame) {
  if (frame.reload_history) on.reload(conversationOf(frame));
  if (frame.state === "idle") return; // nothing was asked there yet; later turns come by themselves
  const turn = turnOf(frame);
  turn.resuming = false;
  if (turn.ended) return;
  turn.lastIndex = Math.min(turn.lastIndex, (frame.index ?? 0) - 1);
  // A server that was killed may have lost tokens, and those that came in one frame with them cannot be told apart.
  while (turn.lastSeq >= frame.from_seq) {
    const { firstSeq, at } = turn.pieces.pop();
    turn.text = turn.text.slice(0, at);
    turn.lastSeq = firstSeq - 1;
  }
  if (turn.lastSeq < frame.from_seq - 1) return resume(turn);
  turn.resumes += 1;
  on.changed(turn);
}

/** The last seq that the server sent of each turn: tokens that are missing here were lost on the way. */
function onHeartbeat(frame) {
  for (const { turn_id, seq } of frame.turns) {
    const turn = turns.get(turn_id);
    if (turn && !turn.ended && !turn.resuming && seq > turn.lastSeq) resume(turn);
  }
}

async function onError(frame) {
  if (frame.code === "AUTH_EXPIRED" && connection.canRenew) return connection.authenticateAgain();
  const turn = turns.get(frame.turn_id) ?? unnamed.find((other) => other.clientMessageId === frame.client_message_id);
  if (!turn) return on.error(new SwitchboardError(frame));
  if (turn.ended) {
    // It ended before it could be stopped, or its conversation was opened: then only a turn that cannot be replayed matters.
    if (frame.code === "RESUME_UNAVAILABLE") on.unavailable(turn);
    return;
  }
  if (frame.code === "TURN_IN_PROGRESS" && unnamed.includes(turn)) {
    unnamed.splice(unnamed.indexOf(turn), 1);
    return on.refused(turn, frame.retry_after_ms);
  }
  if (turn.resuming && frame.code === "TURN_INTERRUPTED") return; // it will come again
  if (frame.code === "RESUME_UNAVAILABLE" && (await recover(turn))) return;
  if (unnamed.includes(turn)) unnamed.splice(unnamed.indexOf(turn), 1);
  Object.assign(turn, { ended: true, error: new SwitchboardError(frame) });
  on.changed(turn);
  on.ended(turn);
}

// ── Whose frame it is ───────────────────────────────────────────────────────────────────────────────────────────────

/** The turn that a frame belongs to: a known one, the oldest one without a name, or one that another tab started. */
function turnOf(frame) {
  const known = turns.get(frame.turn_id);
  if (known && !frame.client_message_id) return known;
  const own = takeUnnamed(frame);
  if (known) {
    if (own) on.withdrawn(own); // the history had it already
    return known;
  }
  const turn = own ?? newTurn({ conversation: { id: conversationOf(frame) }, question: frame.question ?? null });
  turn.turnId = frame.turn_id;
  turns.set(frame.turn_id, turn);
  if (!own) {
    on.shown(turn);
    if (!frame.question) findQuestion(turn);
  } else if (turn.conversation.id === null) {
    turn.conversation.id = conversationOf(frame);
    on.conversation(turn.conversation);
  }
  return turn;
}

/** Only the first frame of a turn carries the client_message_id. Without it, the oldest turn of the conversation is meant. */
function takeUnnamed(frame) {
  const id = conversationOf(frame),
    isKnown = [...turns.values()].some((turn) => turn.conversation.id === id);
  const at = unnamed.findIndex((turn) =>
    frame.client_message_id
      ? turn.clientMessageId === frame.client_message_id
      : turn.conversation.id === id || (turn.conversation.id === null && !isKnown),
  );
  return at < 0 ? null : unnamed.splice(at, 1)[0];
}

/** The question of a turn that another tab started before this one looked. */
async function findQuestion(turn) {
  const isHere = (message) => message.turn_id === turn.turnId && message.role === "user";
  const messages = await messagesOf(turn.conversation.id, (found) => found.some(isHere)).catch(() => []);
  turn.question = messages.find(isHere)?.content ?? null;
  on.changed(turn);
}

/** The server no longer has the turn's frames: the conversation's history has the answer. */
async function recover(turn) {
  const messages = await messagesOf(turn.conversation.id).catch(() => []);
  const answer = messages.find((message) => message.turn_id === turn.turnId && message.role === "assistant");
  if (!answer) return false;
  Object.assign(turn, answeredTurn(answer));
  on.changed(turn);
  return true;
}

// ── What is running ─────────────────────────────────────────────────────────────────────────────────────────────────

export const isReady = () => Boolean(connection?.isReady);
export const isSame = (one, other) => one === other || (one.id !== null && one.id === other.id);
export const runningTurns = () => [...unnamed, ...turns.values()].filter((turn) => !turn.ended);
/** The turn that is being answered in a conversation. */
export const runningIn = (conversation) => runningTurns().find((turn) => isSame(turn.conversation, conversation));
