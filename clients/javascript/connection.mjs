// A WebSocket that reconnects: backoff, sign-in and renewal of tokens, pings, and a server's `going_away`. The chat client, the
// chat page and the operators' page all connect with it; what they say over it is their own.

import { backoffMs, SwitchboardError } from "./account.mjs";

/** Whether a new connection may succeed after this close code. 4408 closes the connection of a device that slept and is awake now. */
export const mayReconnect = (code) =>
  [1001, 1005, 1006, 1011, 1012, 1013, 4408].includes(code) || (code >= 4000 && code < 4400);

/** The address of a WebSocket at a server with an http or https address. */
export function webSocketUrl(path, base) {
  const url = new URL(path, base);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

export class Connection {
  #signIn;
  #options;
  #socket = null;
  #incarnation = 0;
  #turnIds = new Map(); // number of a turn on this WebSocket → its ids
  #token = null; // the access token that the server was given last
  #isOpen = false; // wanted: connected, or about to be
  #isReady = false; // authenticated
  #hasRenewed = false; // a refused token is renewed once, not for ever
  #attempt = 0; // failed attempts in a row
  #reconnectAfterMs = null; // the delay that a server asked for before it went away
  #retryTimer = null;
  #lifeTimer = null; // when to send a ping, or to give the connection up
  #renewTimer = null;
  #status = { state: "idle" };

  /**
   * `handshake(accessToken)` returns `{ url, protocols, firstFrame }`, or a promise of it: how to connect, and the frame to send first.
   *
   * - `onFrame(frame)` gets each frame in order; a promise that it returns is awaited before the next frame.
   * - `onReady(frame, isNew)` gets each `auth_success`; `isNew` is false when the token of an open connection was renewed.
   * - `onStatus(status)` gets `{ state }`: `connecting` (with `attempt`), `open`, `reconnecting` (with `attempt`, `delayMs` and `error`)
   *   or `closed` (with `error` unless `close` was called).
   * - `onRenewalRefused(error)`: the server will not renew the tokens. The connection lasts until the access token ends.
   * - `onTrace(kind, text, frame)` gets what goes over the wire: kind `sent` or `received`, or a `note` about the connection.
   * - `pingAfterMs`, `pongWithinMs`: after that much silence the server is sent a ping, and after that much more the connection is given
   *   up. With `pingAfterMs: 0` no pings are sent, and `pongWithinMs` of silence is enough.
   */
  constructor(signIn, handshake, options = {}) {
    this.#signIn = signIn;
    this.#options = {
      handshake,
      mayReconnect,
      pingAfterMs: 20_000,
      pongWithinMs: 10_000,
      onFrame() {},
      onReady() {},
      onStatus() {},
      onRenewalRefused() {},
      onTrace() {},
      ...options,
    };
  }

  /** The status that `onStatus` got last; `{ state: "idle" }` before the first connection. */
  get status() {
    return this.#status;
  }

  /** Whether the server has authenticated the connection. */
  get isReady() {
    return this.#isReady;
  }

  /** A number, from 1, that is another one for each WebSocket. */
  get incarnation() {
    return this.#incarnation;
  }

  /** The access token that the server was given last. */
  get token() {
    return this.#token;
  }

  /** Whether the token of the connection can be renewed. */
  get canRenew() {
    return this.#signIn.canRenew;
  }

  /** Connects, unless that is done or under way. */
  open() {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#signIn.reopen();
    this.#connect();
  }

  /** Connects at once, in place of the present connection or the next attempt. */
  reconnect() {
    this.#drop();
    this.#attempt = 0;
    this.#hasRenewed = false;
    this.#isOpen = false;
    this.open();
  }

  /** Drops the connection as a network would, and reconnects after a while. */
  cut() {
    if (!this.#isOpen) return;
    this.#options.onTrace("note", "cut on purpose");
    this.#drop();
    this.#retry(new SwitchboardError({ error: "cut on purpose", code: 1006 }));
  }

  /** Leaves, until `open` is called. */
  close() {
    this.#end(null);
  }

  /** Sends a frame; returns false when there is no connection. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    this.#options.onTrace("sent", text, frame);
    return true;
  }

  /** Renews the token of the open connection. Turns go on meanwhile, also when the server refuses. */
  authenticateAgain() {
    if (!this.#signIn.canRenew) return;
    this.#renewThen(() => {
      if (this.#token === this.#signIn.accessToken) return; // done by a call before
      if (this.send({ type: "auth", token: this.#signIn.accessToken })) this.#token = this.#signIn.accessToken;
    });
  }

  async #connect() {
    const incarnation = ++this.#incarnation;
    this.#turnIds.clear();
    this.#tell({ state: "connecting", attempt: this.#attempt });
    let url, protocols, firstFrame;
    try {
      if (this.#signIn.isStale) await this.#signIn.renewOnce();
      this.#token = this.#signIn.accessToken;
      ({ url, protocols = [], firstFrame } = await this.#options.handshake(this.#token));
    } catch (error) {
      if (incarnation !== this.#incarnation || !this.#isOpen) return;
      return error instanceof SwitchboardError && !error.isRefusal ? this.#retry(error) : this.#end(error);
    }
    if (incarnation !== this.#incarnation || !this.#isOpen) return;
    const shown = protocols.map((protocol) => protocol.replace(/^bearer\..*/, "bearer.…")).join(", ");
    this.#options.onTrace("note", `new WebSocket(${url.pathname}) ${shown}`);
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    // An upgrade may stay unanswered, and Node 20 reports nothing about some that fail.
    this.#lifeTimer = setTimeout(() => this.#lose(), this.#options.pongWithinMs);
    socket.onopen = () => {
      if (firstFrame) this.send(firstFrame);
    };
    // Frames are handled one after the other, although a handler may be asynchronous.
    let queue = Promise.resolve();
    socket.onmessage = ({ data }) => {
      this.#watchLife();
      queue = queue
        .then(() => this.#socket === socket && this.#receive(data))
        .catch((error) => {
          if (this.#isOpen) this.#end(error);
        });
    };
    socket.onclose = ({ code, reason }) =>
      queue.then(() => {
        if (this.#socket === socket) this.#onClose(code, reason);
      });
    // Node 20 reports no close of a connection that failed; browsers report it right after the error.
    socket.onerror = () =>
      setTimeout(() =>
        queue.then(() => {
          if (this.#socket === socket) this.#lose();
        }),
      );
  }

  /** Detects a dead network, which closes no connection: sends a ping after silence, then gives up. */
  #watchLife() {
    clearTimeout(this.#lifeTimer);
    const { pingAfterMs, pongWithinMs } = this.#options;
    const giveUp = () => {
      this.#options.onTrace("note", "the server is silent");
      this.#lose();
    };
    const ping = () => {
      this.send({ type: "ping", id: Math.round(performance.now()) });
      this.#lifeTimer = setTimeout(giveUp, pongWithinMs);
    };
    this.#lifeTimer = pingAfterMs ? setTimeout(ping, pingAfterMs) : setTimeout(giveUp, pongWithinMs);
  }

  /** Gives a connection up without waiting for its close. */
  #lose() {
    this.#drop();
    this.#onClose(1006, "");
  }

  #drop() {
    for (const timer of [this.#retryTimer, this.#lifeTimer, this.#renewTimer]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#isReady = false;
    this.#incarnation++; // ends a handshake that is under way
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close(1000);
  }

  #onClose(code, reason) {
    this.#options.onTrace("note", `closed: ${code}${reason ? ` ${reason}` : ""}`);
    this.#drop();
    if (!this.#isOpen) return;
    const error = new SwitchboardError({ error: reason || "The connection was closed.", code });
    if (code === 4401 && this.#signIn.canRenew && !this.#hasRenewed) this.#renewThen(() => this.#connect());
    else if (this.#options.mayReconnect(code)) this.#retry(error);
    else this.#end(this.#signIn.refusal ?? error);
  }

  /** Waits as long as the server asked, which asks each client for another delay, or longer after each failure. */
  #retry(error) {
    const delayMs = this.#reconnectAfterMs ?? backoffMs(this.#attempt++);
    this.#reconnectAfterMs = null;
    this.#tell({ state: "reconnecting", attempt: this.#attempt, delayMs, error });
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
  }

  /** Adds the ids of its turn to a frame that only has the turn's number; false if no frame has told them. */
  #nameTurn(frame) {
    if (frame.turn === undefined) return true;
    const { turn_id, conversation_id } = frame;
    if (!turn_id) return Boolean(Object.assign(frame, this.#turnIds.get(frame.turn)).turn_id);
    if (frame.type === "complete" || frame.type === "error") this.#turnIds.delete(frame.turn);
    else this.#turnIds.set(frame.turn, { turn_id, conversation_id });
    return true;
  }

  #receive(text) {
    const frame = JSON.parse(text),
      { onTrace, onReady, onFrame } = this.#options;
    onTrace("received", text, frame);
    if (!this.#nameTurn(frame)) return;
    switch (frame.type) {
      case "auth_success": {
        const isNew = !this.#isReady;
        this.#isReady = true;
        this.#attempt = 0;
        this.#hasRenewed = false;
        if (isNew) this.#tell({ state: "open" });
        return onReady(frame, isNew);
      }
      case "auth_expiring":
        // Not before it is time: a server that announces the end at once would be asked without a pause.
        clearTimeout(this.#renewTimer);
        this.#renewTimer = setTimeout(() => this.authenticateAgain(), frame.expires_in * 1_000 - this.#signIn.leadMs);
        break;
      case "auth_error":
        if (!this.#hasRenewed && this.#signIn.canRenew && frame.code !== "FORBIDDEN") this.authenticateAgain();
        else this.#end(this.#signIn.refusal ?? new SwitchboardError({ error: frame.message, code: frame.code }));
        break;
      case "going_away":
        this.#reconnectAfterMs = frame.reconnect_after_ms;
        break;
    }
    return onFrame(frame);
  }

  #renewThen(next) {
    const incarnation = this.#incarnation;
    const onTrouble = (trouble) => {
      if (this.#isOpen && !this.#socket) this.#tell({ state: "reconnecting", ...trouble });
    };
    this.#signIn.renew(this.#token, onTrouble).then(
      () => {
        if (!this.#isOpen || incarnation !== this.#incarnation) return;
        this.#hasRenewed = true;
        next();
      },
      (error) => {
        if (!this.#isOpen || incarnation !== this.#incarnation) return;
        if (this.#socket) this.#options.onRenewalRefused(error);
        else this.#end(error);
      },
    );
  }

  /** Ends the connection: for good after an `error`, until `open` otherwise. */
  #end(error) {
    this.#isOpen = false;
    this.#signIn.close();
    this.#drop();
    this.#tell({ state: "closed", ...(error ? { error } : {}) });
  }

  #tell(status) {
    this.#status = status;
    this.#options.onStatus(status);
  }
}
