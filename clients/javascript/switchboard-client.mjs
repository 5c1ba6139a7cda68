// A small client of Switchboard for browsers and Node 22 or newer (Node 20: --experimental-websocket). No dependencies.
//
//   const account = await login("http://localhost:8000", { email, password });
//   const client = new SwitchboardClient("http://localhost:8000", account, { onStatus: ({ state }) => console.error(state) });
//   const turn = client.ask("What is the engine power?", { timeoutMs: 60_000 });
//   for await (const frame of turn) if (frame.type === "token") process.stdout.write(frame.token);
//   client.close();
//
// A lost connection is made again, and a running answer goes on after its last token: the tokens you see are the answer,
// each of them once. `turn.text` is always the answer so far. Show it anew on `resumed`: a server that was killed may have
// lost the latest tokens, and then it is shorter. The protocol is docs/WEBSOCKET.md. Copy the whole folder.

import { backoffMs, SignIn, SwitchboardError } from "./account.mjs";
import { sha256 } from "./fallbacks.mjs";
import { Turn } from "./turn.mjs";

export { login, register, SwitchboardError } from "./account.mjs";
export { randomId } from "./fallbacks.mjs";

/** Close codes after which a new connection may get on; 4408 comes to a device that slept, and is awake now. */
const mayReconnect = (code) => [1001, 1005, 1006, 1011, 1012, 1013, 4408].includes(code) || (code >= 4000 && code < 4400);

/** What refuses a `resume` for now, and for good. Other errors of a turn that is being resumed come again after `resumed`. */
const RESUME_LATER = ["RATE_LIMITED", "OVERLOADED"];
/** What answers a `cancel`, when the turn itself has not ended. */
const NO_END = ["RATE_LIMITED", "AUTH_EXPIRED", "AUTH_REQUIRED", "RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD"];
const RESUME_NEVER = ["RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD", "PROCESSING_ERROR", "AUTH_REQUIRED"];

// `chat.v1` calls the id of a conversation `session_id`, `chat.v2` calls it `conversation_id`.
function withConversation(frame) {
  frame.session_id ??= frame.conversation_id;
  return frame;
}

export class SwitchboardClient {
  #base;
  #signIn;
  #dialect;
  #socket = null;
  #ready = false;
  #attempt = 0;
  #timer = null;
  #reconnectAfterMs = null;   // how long a server that goes away asked to wait
  #lifeTimer = null;          // when to ask whether the other side is there, or to stop waiting for an answer
  #renewTimer = null;
  #onNotice;
  #onStatus;
  #status = { state: "idle" };
  #pingAfterMs;
  #pongWithinMs;
  #closed = false;
  #renewed = false;
  #turns = new Map();           // turn_id → turn
  #unnamed = [];                // sent or waiting, their turn_id not known yet
  #withdrawn = new Set();       // client_message_ids whose answers nobody waits for
  #conversations = new Map();   // session_id → what `open` was told, and the last turn that is known

  /**
   * `account` is what `register` or `login` answered; `{ access_token }` alone will do, then nothing is renewed.
   * Connects with the first question, and stays connected until `close`.
   *
   * `onStatus` hears of the connection: `{ state }`, which is `connecting` (with `attempt`), `open`, `reconnecting` (with
   * `attempt`, `delayMs` and `error`, while the client waits before the next attempt) or `closed` (with `error` when it was not
   * `close` that ended it). `onNotice` gets what operators tell people: `{ message, level }`, where `level` is `info` or `warning`.
   * A connection that is silent for `pingAfterMs` is asked for a sign of life; when none comes within `pongWithinMs`, it is made again.
   */
  constructor(base, account, {
    dialect = "chat.v2", onNotice = () => {}, onStatus = () => {}, pingAfterMs = 20_000, pongWithinMs = 10_000,
  } = {}) {
    this.#base = base;
    this.#signIn = new SignIn(base, account);
    this.#dialect = dialect;
    this.#onNotice = onNotice;
    this.#onStatus = onStatus;
    this.#pingAfterMs = pingAfterMs;
    this.#pongWithinMs = pongWithinMs;
  }

  /** What `onStatus` heard last; `{ state: "idle" }` before the first connection. */
  get status() { return this.#status; }

  /**
   * Asks; with `sessionId`, in the conversation that goes by it. The question waits as long as the server cannot be reached, at
   * most `timeoutMs` for the whole answer; then, or when `signal` is aborted, the answer is stopped and ends in an error with
   * the code `TIMEOUT` or `ABORTED`.
   */
  ask(message, { sessionId = null, metadata, timeoutMs, signal } = {}) {
    const turn = new Turn(this, { message, sessionId, metadata, timeoutMs, signal });
    this.#unnamed.push(turn);
    if (this.#ready) this.#start(turn);
    this.#wanted();
    return turn;
  }

  /**
   * Opens a conversation: `onTurn` gets each turn that is started there from elsewhere, as `ask` returns it, with `message` the
   * question. Name the last turn of the history: its `turn_id`, and its `last_seq` when there is an answer. `onReload` is called when
   * the history has to be read again, `onError` when the conversation cannot be opened.
   */
  open(sessionId, { turnId = null, lastSeq = -1, onTurn = () => {}, onReload = () => {}, onError = () => {} } = {}) {
    const conversation = { sessionId, turnId, lastSeq, onTurn, onReload, onError };
    this.#conversations.set(sessionId, conversation);
    if (this.#ready) this.#subscribe(conversation);
    this.#wanted();
  }

  /** Leaves. Answers go on at the server, and are in the conversation's history. */
  close() {
    this.#end(new SwitchboardError({ error: "the client was closed", code: "CLOSED" }), null);
  }

  /** Sends a frame when connected; what matters is said again after a reconnect. */
  send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** Nobody waits for this turn any more. */
  forget(turn) {
    if (turn.turnId) this.#turns.delete(turn.turnId);
    else if (turn.sentOn) this.#withdrawn.add(turn.clientMessageId);
    this.#unnamed = this.#unnamed.filter((other) => other !== turn);
  }

  #wanted() {
    if (this.#closed) this.#signIn.reopen();
    this.#closed = false;
    if (!this.#socket && !this.#timer) this.#connect();
  }

  #tell(status) {
    this.#status = status;
    this.#onStatus(status);
  }

  #connect() {
    this.#tell({ state: "connecting", attempt: this.#attempt });
    const url = new URL("/ws/chat", this.#base);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, [this.#dialect, `bearer.${this.#signIn.accessToken}`]);
    this.#socket = socket;
    // An upgrade may stay without an answer, and Node 20 tells nothing of some that fail.
    clearTimeout(this.#lifeTimer);
    this.#lifeTimer = setTimeout(() => this.#lose(socket), this.#pongWithinMs);
    // Frames are handled one after the other, although checking a SHA-256 takes a moment.
    let queue = Promise.resolve();
    socket.onmessage = ({ data }) => {
      this.#watchLife();
      queue = queue.then(() => this.#receive(withConversation(JSON.parse(data)))).catch((error) => this.#end(error));
    };
    socket.onclose = ({ code, reason }) => queue.then(() => this.#onClose(code, reason));
    // Node 20 says nothing more of a connection that it could not make; browsers say the close right after the error.
    socket.onerror = () => setTimeout(() => queue.then(() => { if (this.#socket === socket) this.#lose(socket); }));
  }

  /** Gives a connection up without waiting for its close. */
  #lose(socket) {
    socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
    this.#onClose(1006, "");
  }

  /** A dead network closes nothing. Whatever comes is a sign of life. */
  #watchLife() {
    clearTimeout(this.#lifeTimer);
    const socket = this.#socket;
    this.#lifeTimer = setTimeout(() => {
      this.send({ type: "ping" });
      this.#lifeTimer = setTimeout(() => this.#lose(socket), this.#pongWithinMs);
    }, this.#pingAfterMs);
  }

  #onClose(code, reason) {
    clearTimeout(this.#lifeTimer);
    clearTimeout(this.#renewTimer);
    this.#socket = null;
    this.#ready = false;
    if (this.#closed) return;
    const error = new SwitchboardError({ error: reason || "the connection was closed", code });
    if (code === 4401 && this.#signIn.canRenew && !this.#renewed) {
      this.#renew(() => this.#connect());
    } else if (!mayReconnect(code)) {
      this.#end(this.#signIn.refusal ?? error);
    } else {
      // As long as the server asked, which asks each client for another time.
      const delayMs = this.#reconnectAfterMs ?? backoffMs(this.#attempt++);
      this.#reconnectAfterMs = null;
      this.#tell({ state: "reconnecting", attempt: this.#attempt, delayMs, error });
      this.#timer = setTimeout(() => { this.#timer = null; this.#connect(); }, delayMs);
    }
  }

  async #receive(frame) {
    switch (frame.type) {
      case "auth_success": return this.#onAuthSuccess();
      case "auth_expiring":
        // Not before it is time: a server that announces the end at once would be asked without a pause.
        clearTimeout(this.#renewTimer);
        this.#renewTimer = setTimeout(() => this.#authenticateAgain(), frame.expires_in * 1_000 - this.#signIn.leadMs);
        return;
      case "auth_error":
        if (!this.#renewed && this.#signIn.canRenew) return this.#authenticateAgain();
        return this.#end(this.#signIn.refusal ?? new SwitchboardError({ error: frame.message, code: frame.code }));
      case "error": return this.#onError(frame);
      case "heartbeat": return this.#onHeartbeat(frame);
      case "going_away": this.#reconnectAfterMs = frame.reconnect_after_ms; return;
      case "notice": return this.#onNotice({ message: frame.message, level: frame.level });
      case "progress": case "resumed": case "token": case "complete": return this.#onTurnFrame(frame);
    }
  }

  #onAuthSuccess() {
    const first = !this.#ready;
    this.#ready = true;
    this.#attempt = 0;
    this.#renewed = false;
    if (first) {
      this.#tell({ state: "open" });
      for (const turn of this.#turns.values()) this.#resume(turn);
      for (const conversation of this.#conversations.values()) this.#subscribe(conversation);
    } else {
      for (const turn of this.#turns.values()) if (turn.resuming) this.#resume(turn);
    }
    for (const turn of this.#unnamed) if (turn.sentOn !== this.#socket) this.#start(turn);
  }

  #start(turn) {
    const { message, sessionId, metadata, clientMessageId } = turn;
    turn.sentOn = this.#socket;
    this.send({ type: "message", message, client_message_id: clientMessageId,
      ...(sessionId ? { conversation_id: sessionId } : {}), ...(metadata ? { metadata } : {}) });
  }

  #resume(turn) {
    turn.resuming = true;
    this.send({ type: "resume", conversation_id: turn.sessionId, turn_id: turn.turnId, last_seq: turn.lastSeq });
  }

  /** Asks for what was missed of a conversation. One with a running turn is asked for with the turn. */
  #subscribe({ sessionId, turnId, lastSeq }) {
    if ([...this.#turns.values()].some((turn) => turn.sessionId === sessionId)) return;
    this.send({ type: "resume", conversation_id: sessionId, ...(turnId ? { turn_id: turnId, last_seq: lastSeq } : {}) });
  }

  async #onTurnFrame(frame) {
    if (frame.type === "resumed" && frame.reload_history) this.#conversations.get(frame.session_id)?.onReload();
    const turn = this.#turnOf(frame);
    if (!turn) return;   // of another client of this user
    if (frame.type === "resumed") {
      turn.resuming = false;
      if (!turn.dropFrom(frame.from_seq)) return this.#resume(turn);
    } else if (turn.resuming) {
      return;
    }
    if (frame.type === "token") {
      const firstSeq = frame.first_seq ?? frame.seq;
      if (frame.seq <= turn.lastSeq) return;
      if (firstSeq !== turn.lastSeq + 1) return this.#resume(turn);
      turn.append(frame.token, firstSeq, frame.seq);
    }
    if (frame.type === "complete") {
      this.#ended(turn);
      if (turn.text !== frame.response || await sha256(frame.response) !== frame.sha256) {
        return turn.end(new SwitchboardError({ error: "the answer is not what was sent", code: "CORRUPT_ANSWER" }));
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
    const own = frame.client_message_id && this.#unnamed.find((turn) => turn.clientMessageId === frame.client_message_id);
    if (own) {
      this.#unnamed = this.#unnamed.filter((turn) => turn !== own);
      own.turnId = frame.turn_id;
      own.sessionId = frame.session_id;
    }
    const conversation = this.#conversations.get(frame.session_id);
    const isNew = frame.type === "progress" && frame.step === "starting" && frame.question !== undefined
      && !(conversation?.turnId === frame.turn_id && conversation.lastSeq >= 0);
    const turn = own ?? (conversation && isNew ? new Turn(this, {
      message: frame.question, sessionId: frame.session_id, turnId: frame.turn_id, clientMessageId: frame.client_message_id ?? null,
    }) : null);
    if (!turn) return null;
    this.#turns.set(frame.turn_id, turn);
    if (!own) conversation.onTurn(turn);
    return turn;
  }

  /** A turn has ended; the next `resume` of its conversation begins after it. */
  #ended(turn) {
    this.#turns.delete(turn.turnId);
    const conversation = this.#conversations.get(turn.sessionId);
    if (conversation) Object.assign(conversation, { turnId: turn.turnId, lastSeq: turn.lastSeq });
  }

  /** How far the server says it has come: what is missing was lost on the way. */
  #onHeartbeat(frame) {
    for (const { turn_id, seq } of frame.turns) {
      const turn = this.#turns.get(turn_id);
      if (turn && !turn.resuming && seq > turn.lastSeq) this.#resume(turn);
    }
  }

  #onError(frame) {
    const isNameless = !frame.turn_id && !frame.client_message_id && !frame.session_id;
    const named = this.#turns.get(frame.turn_id) ?? this.#unnamed.find((turn) => turn.clientMessageId === frame.client_message_id);
    // An error that names nothing answers a frame that could not be read: the oldest question without an answer, if any.
    const turn = named ?? (isNameless ? this.#unnamed.find((other) => other.sentOn === this.#socket) : undefined);
    if (frame.code === "AUTH_EXPIRED" && this.#signIn.canRenew) {
      if (turn && !turn.turnId) turn.sentOn = null;
      return this.#authenticateAgain();
    }
    const error = this.#signIn.refusal && frame.code === "AUTH_EXPIRED" ? this.#signIn.refusal : new SwitchboardError(frame);
    if (!turn) {
      this.#withdrawn.delete(frame.client_message_id);
      const conversation = this.#conversations.get(frame.session_id);
      if (frame.code === "RESUME_UNAVAILABLE") conversation?.onReload();
      else if (RESUME_NEVER.includes(frame.code)) conversation?.onError(error);
      else if (conversation && RESUME_LATER.includes(frame.code)) {
        setTimeout(() => this.#ready && this.#subscribe(conversation), frame.retry_after_ms ?? 1_000);
      }
      return;
    }
    if (turn.resuming && RESUME_LATER.includes(frame.code)) {
      setTimeout(() => this.#ready && turn.resuming && !turn.ended && this.#resume(turn), frame.retry_after_ms ?? 1_000);
    } else if (turn.resuming ? RESUME_NEVER.includes(frame.code) : !turn.turnId || !NO_END.includes(frame.code)) {
      if (turn.turnId) this.#ended(turn);
      this.#unnamed = this.#unnamed.filter((other) => other !== turn);
      turn.end(error);
    }
  }

  /** A new token for the open connection. What runs goes on meanwhile, also when the server does not renew it. */
  #authenticateAgain() {
    if (!this.#signIn.canRenew) return;
    this.#renew(() => this.send({ type: "auth", token: this.#signIn.accessToken }));
  }

  #renew(then) {
    const onTrouble = (trouble) => { if (!this.#socket) this.#tell({ state: "reconnecting", ...trouble }); };
    this.#signIn.renew(onTrouble).then(() => {
      this.#renewed = true;
      if (!this.#closed) then();
    }, (error) => {
      if (!this.#socket && !this.#closed) this.#end(error);
      for (const turn of this.#unnamed.filter((other) => !other.sentOn)) { this.forget(turn); turn.end(error); }
    });
  }

  /** Ends everything, for `error` at the turns; `reason` is why the client did not close by itself. */
  #end(error, reason = error) {
    this.#closed = true;
    this.#ready = false;
    for (const timer of [this.#timer, this.#lifeTimer, this.#renewTimer]) clearTimeout(timer);
    this.#timer = null;
    this.#signIn.close();
    this.#socket?.close(1000);
    this.#socket = null;
    for (const turn of [...this.#turns.values(), ...this.#unnamed]) turn.end(error);
    this.#turns.clear();
    this.#unnamed = [];
    this.#withdrawn.clear();
    this.#tell({ state: "closed", ...(reason ? { error: reason } : {}) });
  }
}
