// A small client of Switchboard for browsers and Node 22 or newer (Node 20: --experimental-websocket). No dependencies.
//
//   const account = await login("http://localhost:8000", { email, password });
//   const client = new SwitchboardClient("http://localhost:8000", account, { onStatus: ({ state }) => console.error(state) });
//   const turn = client.ask("What is the engine power?", { timeoutMs: 60_000 });
//   for await (const frame of turn) if (frame.type === "token") process.stdout.write(frame.token);
//   client.close();
//
// The client reconnects, and a running answer goes on after its last token: the tokens you see are the answer, each of them
// once. `turn.text` is always the answer so far. Show it again on `resumed`: a server that was killed may have lost the latest
// tokens, and then it is shorter. Frames of the types `reasoning` (its `delta` is text that the model thinks) and `part` (ignore
// kinds that you do not know) are no part of `turn.text`. The protocol is docs/WEBSOCKET.md. Copy the whole folder.

import { SignIn, SwitchboardError } from "./account.mjs";
import { Connection, webSocketUrl } from "./connection.mjs";
import { sha256 } from "./fallbacks.mjs";
import { Turn } from "./turn.mjs";

export { login, register, SwitchboardError } from "./account.mjs";
export { randomId } from "./fallbacks.mjs";

/** Codes that refuse a `resume` for now. Other errors of a turn that is being resumed come again after `resumed`. */
const RESUME_LATER = ["RATE_LIMITED", "OVERLOADED"];
/** Codes that refuse a `resume` for good. */
const RESUME_NEVER = [
  "RESUME_UNAVAILABLE",
  "FORBIDDEN",
  "NOT_FOUND",
  "INVALID_FIELD",
  "PROCESSING_ERROR",
  "AUTH_REQUIRED",
];
/** Codes that answer a `cancel` and do not end the turn. */
const NO_END = [
  "RATE_LIMITED",
  "AUTH_EXPIRED",
  "AUTH_REQUIRED",
  "RESUME_UNAVAILABLE",
  "FORBIDDEN",
  "NOT_FOUND",
  "INVALID_FIELD",
];

/** The id of a frame's conversation, which `chat.v1` and older servers call `session_id`. */
const conversationOf = (frame) => frame.conversation_id ?? frame.session_id;

export class SwitchboardClient {
  #signIn;
  #connection;
  #onNotice;
  #turns = new Map(); // turn_id → turn
  #unnamed = []; // turns sent or waiting whose turn_id is not known yet
  #withdrawn = new Set(); // client_message_ids of questions that were withdrawn
  #conversations = new Map(); // conversation id → the arguments of `open`, and the last turn that is known

  /**
   * `account` is the answer of `register` or `login`; `{ access_token }` alone will do, then nothing is renewed.
   * Connects with the first question, and stays connected until `close`.
   *
   * `onStatus` gets `{ state }`: `connecting` (with `attempt`), `open`, `reconnecting` (with `attempt`, `delayMs` and `error`, while the
   * client waits before the next attempt) or `closed` (with `error` unless `close` was called). `onNotice` gets notices of operators:
   * `{ message, level }`, where `level` is `info` or `warning`. After `pingAfterMs` of silence the server is sent a ping; when nothing
   * comes within `pongWithinMs`, the client reconnects.
   */
  constructor(
    base,
    account,
    { dialect = "chat.v2", onNotice = () => {}, onStatus = () => {}, pingAfterMs = 20_000, pongWithinMs = 10_000 } = {},
  ) {
    this.#signIn = new SignIn(base, account);
    this.#onNotice = onNotice;
    const handshake = (token) => ({ url: webSocketUrl("/ws/chat", base), protocols: [dialect, `bearer.${token}`] });
    this.#connection = new Connection(this.#signIn, handshake, {
      pingAfterMs,
      pongWithinMs,
      onReady: (_, isNew) => this.#onReady(isNew),
      onFrame: (frame) => this.#receive(frame),
      onRenewalRefused: (error) => this.#failUnsent(error),
      onStatus: (status) => {
        if (status.state === "closed")
          this.#endTurns(status.error ?? new SwitchboardError({ error: "the client was closed", code: "CLOSED" }));
        onStatus(status);
      },
    });
  }

  /** The status that `onStatus` got last; `{ state: "idle" }` before the first connection. */
  get status() {
    return this.#connection.status;
  }

  /**
   * Asks; with `conversationId`, in that conversation (`sessionId` is an older name of it). The question waits as long as the server
   * cannot be reached, at most `timeoutMs` for the whole answer; then, or when `signal` is aborted, the answer is stopped and ends in an
   * error with the code `TIMEOUT` or `ABORTED`.
   */
  ask(message, { sessionId = null, conversationId = sessionId, metadata, timeoutMs, signal } = {}) {
    const turn = new Turn(this, { message, conversationId, metadata, timeoutMs, signal });
    this.#unnamed.push(turn);
    if (this.#connection.isReady) this.#start(turn);
    this.#connection.open();
    return turn;
  }

  /**
   * Opens a conversation: `onTurn` gets each turn that is started there from elsewhere, as `ask` returns it, with `message` the
   * question. Name the last turn of the history: its `turn_id`, and its `last_seq` when there is an answer. `onReload` is called when
   * the history has to be read again, `onError` when the conversation cannot be opened.
   */
  open(
    conversationId,
    { turnId = null, lastSeq = -1, onTurn = () => {}, onReload = () => {}, onError = () => {} } = {},
  ) {
    const conversation = { conversationId, turnId, lastSeq, onTurn, onReload, onError };
    this.#conversations.set(conversationId, conversation);
    if (this.#connection.isReady) this.#subscribe(conversation);
    this.#connection.open();
  }

  /** Leaves. Answers go on at the server, and are in the conversation's history. */
  close() {
    this.#connection.close();
  }

  /** Sends a frame if connected; what matters is sent again after a reconnect. */
  send(frame) {
    this.#connection.send(frame);
  }

  /** Gives a turn up: its frames are ignored. */
  forget(turn) {
    if (turn.turnId) this.#turns.delete(turn.turnId);
    else if (turn.sentOn) this.#withdrawn.add(turn.clientMessageId);
    this.#unnamed = this.#unnamed.filter((other) => other !== turn);
  }

  #onReady(isNew) {
    for (const turn of this.#turns.values()) if (isNew || turn.resuming) this.#resume(turn);
    if (isNew) for (const conversation of this.#conversations.values()) this.#subscribe(conversation);
    for (const turn of this.#unnamed) if (turn.sentOn !== this.#connection.incarnation) this.#start(turn);
  }

  async #receive(frame) {
    switch (frame.type) {
      case "error":
        return this.#onError(frame);
      case "heartbeat":
        return this.#onHeartbeat(frame);
      case "notice":
        return this.#onNotice({ message: frame.message, level: frame.level });
      case "progress":
      case "resumed":
      case "token":
      case "reasoning":
      case "part":
      case "complete":
        return this.#onTurnFrame(frame);
    }
  }

  #start(turn) {
    const { message, conversationId, metadata, clientMessageId } = turn;
    turn.sentOn = this.#connection.incarnation;
    this.send({
      type: "message",
      message,
      client_message_id: clientMessageId,
      ...(conversationId ? { conversation_id: conversationId } : {}),
      ...(metadata ? { metadata } : {}),
    });
  }

  #resume(turn) {
    turn.resuming = true;
    this.send({
      type: "resume",
      conversation_id: turn.conversationId,
      turn_id: turn.turnId,
      last_seq: turn.lastSeq,
      last_index: turn.lastIndex,
    });
  }

  /** Asks for what was missed of a conversation. One with a running turn is asked for with the turn. */
  #subscribe({ conversationId, turnId, lastSeq }) {
    if ([...this.#turns.values()].some((turn) => turn.conversationId === conversationId)) return;
    this.send({
      type: "resume",
      conversation_id: conversationId,
      ...(turnId ? { turn_id: turnId, last_seq: lastSeq } : {}),
    });
  }

  async #onTurnFrame(frame) {
    if (frame.type === "resumed" && frame.reload_history) this.#conversations.get(conversationOf(frame))?.onReload();
    const turn = this.#turnOf(frame);
    if (!turn) return; // of another client of this user
    if (frame.type === "resumed") {
      turn.resuming = false;
      turn.lastIndex = Math.min(turn.lastIndex, (frame.index ?? 0) - 1);
      if (!turn.dropFrom(frame.from_seq)) return this.#resume(turn);
    } else if (turn.resuming) {
      return;
    } else if (frame.index !== undefined) {
      if (frame.index <= turn.lastIndex) return; // known already
      turn.lastIndex = frame.index;
    }
    if (frame.type === "token") {
      const firstSeq = frame.first_seq ?? frame.seq;
      if (frame.seq <= turn.lastSeq) return;
      if (firstSeq !== turn.lastSeq + 1) return this.#resume(turn);
      turn.append(frame.token, firstSeq, frame.seq);
    }
    if (frame.type === "complete") {
      this.#ended(turn);
      if (turn.text !== frame.response || (await sha256(frame.response)) !== frame.sha256) {
        const error = "the answer differs from what the server wrote; open the conversation again to read it";
        return turn.end(new SwitchboardError({ error, code: "CORRUPT_ANSWER" }));
      }
      turn.push(frame);
      return turn.end();
    }
    turn.push(frame);
  }

  #turnOf(frame) {
    const known = this.#turns.get(frame.turn_id);
    if (known) return known;
    if (this.#withdrawn.delete(frame.client_message_id)) {
      this.send({ type: "cancel", turn_id: frame.turn_id });
      return null;
    }
    // Only the first frame of a turn, and the answer to a message that was sent again, tell whose it is.
    const own =
      frame.client_message_id && this.#unnamed.find((turn) => turn.clientMessageId === frame.client_message_id);
    if (own) {
      this.#unnamed = this.#unnamed.filter((turn) => turn !== own);
      own.turnId = frame.turn_id;
      own.conversationId = conversationOf(frame);
    }
    const conversation = this.#conversations.get(conversationOf(frame));
    const isNew =
      frame.type === "progress" &&
      frame.step === "starting" &&
      frame.question !== undefined &&
      !(conversation?.turnId === frame.turn_id && conversation.lastSeq >= 0);
    const turn =
      own ??
      (conversation && isNew
        ? new Turn(this, {
            message: frame.question,
            conversationId: conversationOf(frame),
            turnId: frame.turn_id,
            clientMessageId: frame.client_message_id ?? null,
          })
        : null);
    if (!turn) return null;
    this.#turns.set(frame.turn_id, turn);
    if (!own) conversation.onTurn(turn);
    return turn;
  }

  /** A turn has ended; the next `resume` of its conversation begins after it. */
  #ended(turn) {
    this.#turns.delete(turn.turnId);
    const conversation = this.#conversations.get(turn.conversationId);
    if (conversation) Object.assign(conversation, { turnId: turn.turnId, lastSeq: turn.lastSeq });
  }

  /** The last seq that the server sent of each turn: tokens that are missing here were lost on the way. */
  #onHeartbeat(frame) {
    for (const { turn_id, seq } of frame.turns) {
      const turn = this.#turns.get(turn_id);
      if (turn && !turn.resuming && seq > turn.lastSeq) this.#resume(turn);
    }
  }

  #onError(frame) {
    const isNameless = !frame.turn_id && !frame.client_message_id && !conversationOf(frame);
    const named =
      this.#turns.get(frame.turn_id) ?? this.#unnamed.find((turn) => turn.clientMessageId === frame.client_message_id);
    // An error that names nothing answers a frame that could not be read: the oldest question without an answer, if any.
    const turn =
      named ?? (isNameless ? this.#unnamed.find((other) => other.sentOn === this.#connection.incarnation) : undefined);
    if (frame.code === "AUTH_EXPIRED" && this.#signIn.canRenew) {
      if (turn && !turn.turnId) turn.sentOn = null;
      return this.#connection.authenticateAgain();
    }
    const error =
      this.#signIn.refusal && frame.code === "AUTH_EXPIRED" ? this.#signIn.refusal : new SwitchboardError(frame);
    if (!turn) {
      this.#withdrawn.delete(frame.client_message_id);
      const conversation = this.#conversations.get(conversationOf(frame));
      if (frame.code === "RESUME_UNAVAILABLE") conversation?.onReload();
      else if (RESUME_NEVER.includes(frame.code)) conversation?.onError(error);
      else if (conversation && RESUME_LATER.includes(frame.code)) {
        setTimeout(() => this.#connection.isReady && this.#subscribe(conversation), frame.retry_after_ms ?? 1_000);
      }
      return;
    }
    if (turn.resuming && RESUME_LATER.includes(frame.code)) {
      setTimeout(
        () => this.#connection.isReady && turn.resuming && !turn.ended && this.#resume(turn),
        frame.retry_after_ms ?? 1_000,
      );
    } else if (turn.resuming ? RESUME_NEVER.includes(frame.code) : !turn.turnId || !NO_END.includes(frame.code)) {
      if (turn.turnId) this.#ended(turn);
      this.#unnamed = this.#unnamed.filter((other) => other !== turn);
      turn.end(error);
    }
  }

  /** Fails the questions that wait for a new token, which the server refuses. */
  #failUnsent(error) {
    for (const turn of this.#unnamed.filter((other) => !other.sentOn)) {
      this.forget(turn);
      turn.end(error);
    }
  }

  #endTurns(error) {
    for (const turn of [...this.#turns.values(), ...this.#unnamed]) turn.end(error);
    this.#turns.clear();
    this.#unnamed = [];
    this.#withdrawn.clear();
  }
}
