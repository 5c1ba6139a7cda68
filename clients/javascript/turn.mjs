// One question and its answer.

import { SwitchboardError } from "./account.mjs";
import { randomId, wellFormed } from "./fallbacks.mjs";

/** One question and its answer as it arrives: iterate over it once. */
export class Turn {
  /** The answer so far. */
  text = "";
  turnId = null;
  lastSeq = -1;
  /** The `index` of the last frame other than `token`. */
  lastIndex = -1;
  /** A `resume` is on its way: until its `resumed`, what comes of this turn will come again. */
  resuming = false;
  /** The incarnation of the connection that its message was sent on. */
  sentOn = null;
  ended = false;
  /** The start of each frame's text: its first `seq`, and its index in `text`. */
  #pieces = [];
  #frames = [];
  #wake = null;
  #error = null;
  #timer = null;
  #unlisten = () => {};

  constructor(
    client,
    { message, conversationId = null, metadata, timeoutMs, signal, turnId = null, clientMessageId = randomId() },
  ) {
    // Replaced here, lone surrogates are the same in the question that is shown and in the one that is sent.
    Object.assign(this, { client, message: wellFormed(message), conversationId, metadata, turnId, clientMessageId });
    const stop = (code, error) => {
      this.cancel();
      this.client.forget(this);
      this.end(new SwitchboardError({ error, code }));
    };
    if (timeoutMs) this.#timer = setTimeout(() => stop("TIMEOUT", `no whole answer within ${timeoutMs} ms`), timeoutMs);
    if (signal) {
      const abort = () => stop("ABORTED", "the question was withdrawn");
      signal.addEventListener("abort", abort, { once: true });
      this.#unlisten = () => signal.removeEventListener("abort", abort);
      if (signal.aborted) queueMicrotask(abort);
    }
  }

  /** An older name of `conversationId`. */
  get sessionId() {
    return this.conversationId;
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
      await new Promise((wake) => {
        this.#wake = wake;
      });
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
    if (this.ended) return;
    this.#frames.push(frame);
    this.#wake?.();
  }

  end(error = null) {
    if (this.ended) return;
    this.ended = true;
    this.#error = error;
    clearTimeout(this.#timer);
    this.#unlisten();
    this.#wake?.();
  }
}
