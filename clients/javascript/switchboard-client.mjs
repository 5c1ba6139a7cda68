// A small client of Switchboard for browsers and Node 22 or newer (Node 20: --experimental-websocket). No dependencies.
//
//   const account = await login("http://localhost:8000", { email, password });
//   const client = new SwitchboardClient("http://localhost:8000", account);
//   const turn = client.ask("What is the engine power?");
//   for await (const frame of turn) if (frame.type === "token") process.stdout.write(frame.token);
//   client.close();
//
// A lost connection is made again, and a running answer goes on after its last token: the tokens you see are the answer,
// each of them once. `turn.text` is always the answer so far. Show it anew on `resumed`: a server that was killed may have
// lost the latest tokens, and then it is shorter. The protocol is docs/WEBSOCKET.md.

const MAX_WAIT_MS = 30_000;

/** Close codes after which a new connection may get on; 4408 comes to a device that slept, and is awake now. */
const mayReconnect = (code) => [1001, 1005, 1006, 1011, 1012, 1013, 4408].includes(code) || (code >= 4000 && code < 4400);

/** What the server, or the network, says went wrong. `code` is a row of the error table, or a close code. */
export class SwitchboardError extends Error {
  constructor({ error, code, retryable = false, retry_after_ms, correlation_id }) {
    super(`${code}: ${error}`);
    Object.assign(this, { name: "SwitchboardError", code, retryable, retryAfterMs: retry_after_ms, correlationId: correlation_id });
  }
}

async function post(base, path, body, token) {
  const response = await fetch(new URL(path, base), {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new SwitchboardError({ error: `the server answered ${response.status}`, code: `HTTP_${response.status}`, ...answer });
}

/** Makes an account: `{ name, email, password }`. Returns `{ access_token, refresh_token, expires_in, user }`. */
export const register = (base, credentials) => post(base, "/api/v1/auth/register", credentials);

/** Signs in: `{ email, password }`. */
export const login = (base, credentials) => post(base, "/api/v1/auth/login", credentials);

/** One question and its answer as it arrives: iterate over it once. */
class Turn {
  /** The answer so far. */
  text = "";
  turnId = null;
  lastSeq = -1;
  /** A `resume` is on its way: until its `resumed`, what comes of this turn will come again. */
  resuming = false;
  /** Where the text of each frame begins: the first `seq` in it, and the place in `text`. */
  #pieces = [];
  #frames = [];
  #wake = null;
  #error = null;
  ended = false;

  constructor(client, message, sessionId, metadata) {
    Object.assign(this, { client, message, sessionId, metadata, clientMessageId: crypto.randomUUID() });
  }

  /** Stops the answer. It ends in `complete` with `finish_reason: "cancelled"`. */
  cancel() {
    if (this.turnId) this.client.send({ type: "cancel", turn_id: this.turnId });
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#frames.length) yield this.#frames.shift();
      if (this.#error) throw this.#error;
      if (this.ended) return;
      await new Promise((wake) => { this.#wake = wake; });
    }
  }

  append(token, firstSeq, lastSeq) {
    this.#pieces.push({ firstSeq, at: this.text.length });
    this.text += token;
    this.lastSeq = lastSeq;
  }

  /** Drops the tokens from `seq` on, and those before it that came in one frame with them; false when there were any. */
  dropFrom(seq) {
    while (this.lastSeq >= seq) {
      const { firstSeq, at } = this.#pieces.pop();
      this.text = this.text.slice(0, at);
      this.lastSeq = firstSeq - 1;
    }
    return this.lastSeq === seq - 1;
  }

  push(frame) {
    this.#frames.push(frame);
    this.#wake?.();
  }

  end(error = null) {
    this.ended = true;
    this.#error = error;
    this.#wake?.();
  }
}

export class SwitchboardClient {
  #base;
  #account;
  #dialect;
  #socket = null;
  #ready = false;
  #attempt = 0;
  #timer = null;
  #reconnectAfterMs = null;   // how long a server that goes away asked to wait
  #lifeTimer = null;          // when to ask whether the other side is there, or to stop waiting for an answer
  #onNotice;
  #pingAfterMs;
  #pongWithinMs;
  #closed = false;
  #refreshed = false;
  #turns = new Map();   // turn_id → turn
  #unnamed = [];        // sent or waiting, their turn_id not known yet

  /**
   * `account` is what `register` or `login` answered; `{ access_token }` alone will do, then nothing is refreshed.
   * Connects with the first question, and stays connected until `close`.
   *
   * `onNotice` gets what operators tell people: `{ message, level }`, where `level` is `info` or `warning`. A connection that
   * is silent for `pingAfterMs` is asked for a sign of life; when none comes within `pongWithinMs`, it is made again.
   */
  constructor(base, account, { dialect = "chat.v2", onNotice = () => {}, pingAfterMs = 20_000, pongWithinMs = 10_000 } = {}) {
    this.#base = base;
    this.#account = account;
    this.#dialect = dialect;
    this.#onNotice = onNotice;
    this.#pingAfterMs = pingAfterMs;
    this.#pongWithinMs = pongWithinMs;
  }

  /** Asks; with `sessionId`, in the conversation that goes by it. */
  ask(message, { sessionId = null, metadata } = {}) {
    const turn = new Turn(this, message, sessionId, metadata);
    this.#closed = false;
    this.#unnamed.push(turn);
    if (this.#ready) this.#start(turn);
    else if (!this.#socket && !this.#timer) this.#connect();
    return turn;
  }

  /** Leaves. Answers go on at the server, and are in the conversation's history. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#lifeTimer);
    this.#timer = null;
    this.#socket?.close(1000);
    this.#endAll(new SwitchboardError({ error: "the client was closed", code: "CLOSED" }));
  }

  /** Sends a frame when connected; what matters is said again after a reconnect. */
  send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #connect() {
    const url = new URL("/ws/chat", this.#base);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, [this.#dialect, `bearer.${this.#account.access_token}`]);
    this.#socket = socket;
    this.#watchLife();   // an upgrade may stay without an answer, too
    // Frames are handled one after the other, although checking a SHA-256 takes a moment.
    let queue = Promise.resolve();
    socket.onmessage = ({ data }) => {
      this.#watchLife();
      queue = queue.then(() => this.#receive(JSON.parse(data))).catch((error) => this.#endAll(error));
    };
    socket.onclose = ({ code, reason }) => queue.then(() => this.#onClose(code, reason));
  }

  /** A dead network closes nothing. Whatever comes is a sign of life. */
  #watchLife() {
    clearTimeout(this.#lifeTimer);
    const socket = this.#socket;
    const giveUp = () => {
      // Its own close would wait for an answer, too.
      socket.onmessage = socket.onclose = null;
      socket.close();
      this.#onClose(1006, "");
    };
    this.#lifeTimer = setTimeout(() => {
      this.send({ type: "ping" });
      this.#lifeTimer = setTimeout(giveUp, this.#pongWithinMs);
    }, this.#pingAfterMs);
  }

  #onClose(code, reason) {
    clearTimeout(this.#lifeTimer);
    this.#socket = null;
    this.#ready = false;
    if (this.#closed) return;
    if (code === 4401 && this.#account.refresh_token && !this.#refreshed) {
      this.#refresh().then(() => this.#connect(), (error) => this.#endAll(error));
    } else if (!mayReconnect(code)) {
      this.#endAll(new SwitchboardError({ error: reason || "the server closed the connection", code }));
    } else {
      // As long as the server asked, which asks each client for another time. Else longer after every failure, and by
      // chance: clients must not come back all at once.
      const wait = this.#reconnectAfterMs ?? Math.min(MAX_WAIT_MS, 500 * 2 ** this.#attempt++) * (0.5 + Math.random() / 2);
      this.#reconnectAfterMs = null;
      this.#timer = setTimeout(() => { this.#timer = null; this.#connect(); }, wait);
    }
  }

  async #receive(frame) {
    switch (frame.type) {
      case "auth_success": return this.#onAuthSuccess();
      case "auth_expiring": return this.#authenticateAgain();
      case "auth_error":
        if (!this.#refreshed && this.#account.refresh_token) return this.#authenticateAgain();
        this.close();
        return this.#endAll(new SwitchboardError({ error: frame.message, code: frame.code }));
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
    this.#refreshed = false;
    if (first) for (const turn of this.#turns.values()) this.#resume(turn);
    for (const turn of this.#unnamed) this.#start(turn);
  }

  #start(turn) {
    const { message, sessionId, metadata, clientMessageId } = turn;
    this.send({ type: "message", message, client_message_id: clientMessageId,
      ...(sessionId ? { session_id: sessionId } : {}), ...(metadata ? { metadata } : {}) });
  }

  #resume(turn) {
    turn.resuming = true;
    this.send({ type: "resume", session_id: turn.sessionId, turn_id: turn.turnId, last_seq: turn.lastSeq });
  }

  async #onTurnFrame(frame) {
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
      this.#turns.delete(frame.turn_id);
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
    const sessions = new Set([...this.#turns.values()].map((turn) => turn.sessionId));
    const turn = this.#unnamed.find((t) => (frame.client_message_id ? t.clientMessageId === frame.client_message_id
      : t.sessionId === frame.session_id || (!t.sessionId && !sessions.has(frame.session_id))));
    if (!turn) return null;
    this.#unnamed.splice(this.#unnamed.indexOf(turn), 1);
    turn.turnId = frame.turn_id;
    turn.sessionId = frame.session_id;
    this.#turns.set(frame.turn_id, turn);
    return turn;
  }

  /** How far the server says it has come: what is missing was lost on the way. */
  #onHeartbeat(frame) {
    for (const { turn_id, seq } of frame.turns) {
      const turn = this.#turns.get(turn_id);
      if (turn && !turn.resuming && seq > turn.lastSeq) this.#resume(turn);
    }
  }

  async #onError(frame) {
    if (frame.code === "AUTH_EXPIRED" && this.#account.refresh_token) return this.#authenticateAgain();
    const turn = this.#turns.get(frame.turn_id) ?? this.#unnamed.find((t) => t.clientMessageId === frame.client_message_id);
    if (!turn || (turn.resuming && frame.code === "TURN_INTERRUPTED")) return;
    this.#turns.delete(frame.turn_id);
    this.#unnamed = this.#unnamed.filter((t) => t !== turn);
    turn.end(new SwitchboardError(frame));
  }

  async #authenticateAgain() {
    if (!this.#account.refresh_token) return;
    await this.#refresh();
    this.send({ type: "auth", token: this.#account.access_token });
  }

  async #refresh() {
    this.#refreshed = true;
    this.#account = await post(this.#base, "/api/v1/auth/refresh", { refresh_token: this.#account.refresh_token });
  }

  #endAll(error) {
    for (const turn of [...this.#turns.values(), ...this.#unnamed]) turn.end(error);
    this.#turns.clear();
    this.#unnamed = [];
  }
}

async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
