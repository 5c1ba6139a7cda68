// The behaviour of a virtual user of artillery.yml.

import { createHash } from "node:crypto";

const TIMEOUT_MS = 120_000;
let account;

// Connects to the target's /ws/chat.
export function upgrade(socket, context, done) {
  context.vars.base = socket.target.replace(/\/$/, "");
  socket.target = `${context.vars.base.replace(/^http/, "ws")}/ws/chat`;
  socket.subprotocols = ["chat.v2"];
  done();
}

export async function converse(context, events) {
  const { base, turns, script } = context.vars;
  // One account for all: a password hash costs the server more than a turn.
  account ??= register(base);
  const { access_token } = await account;
  const frames = framesOf(context.ws);
  const send = (frame) => context.ws.send(JSON.stringify(frame));
  try {
    send({ type: "auth", token: access_token });
    const answer = await frames.next();
    if (answer.type !== "auth_success") throw new Error(answer.code ?? answer.type);
    for (let turn = 0; turn < turns; turn += 1) await ask(frames, send, script, events);
  } finally {
    frames.stop();
  }
}

async function ask(frames, send, script, events) {
  const started = performance.now();
  const since = () => performance.now() - started;
  let text = "";
  let nextSeq = 0;
  const question = { type: "message", message: "How does this hold under load?", metadata: { script } };
  send({ ...question, client_message_id: crypto.randomUUID() });
  for (;;) {
    const frame = await frames.next();
    if (frame.type === "token") {
      if (nextSeq === 0) events.emit("histogram", "chat.first_token", since());
      if ((frame.first_seq ?? frame.seq) !== nextSeq) throw new Error("GAP");
      text += frame.token;
      events.emit("counter", "chat.tokens", frame.seq + 1 - nextSeq);
      nextSeq = frame.seq + 1;
    } else if (frame.type === "complete") {
      const sha256 = createHash("sha256").update(text).digest("hex");
      if (text !== frame.response || sha256 !== frame.sha256) throw new Error("NOT_WHAT_WAS_WRITTEN");
      events.emit("histogram", "chat.turn", since());
      events.emit("counter", "chat.whole", 1);
      return;
    } else if (frame.type === "error" || frame.type === "auth_error") {
      throw new Error(frame.code);
    }
  }
}

// The frames of a socket, one after the other, each within the time.
function framesOf(socket) {
  const waiting = [];
  let isClosed = false;
  let wake = () => {};
  const onMessage = (data) => {
    waiting.push(JSON.parse(data));
    wake();
  };
  const onClose = () => {
    isClosed = true;
    wake();
  };
  socket.on("message", onMessage);
  socket.on("close", onClose);
  return {
    async next() {
      const deadline = setTimeout(onClose, TIMEOUT_MS);
      try {
        while (waiting.length === 0) {
          if (isClosed) throw new Error("CLOSED_OR_TIMEOUT");
          await new Promise((resolve) => (wake = resolve));
        }
        return waiting.shift();
      } finally {
        clearTimeout(deadline);
      }
    },
    stop() {
      socket.off("message", onMessage);
      socket.off("close", onClose);
    },
  };
}

async function register(base) {
  const random = () => crypto.randomUUID();
  const response = await fetch(`${base}/api/v1/auth/register`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name: "Load", email: `${random()}@example.org`, password: random() }),
  });
  if (response.status !== 201) throw new Error(`the account was refused: ${response.status}`);
  return response.json();
}
