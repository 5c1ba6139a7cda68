// k6 run -e BASE=http://127.0.0.1:8000 --vus 50 --duration 20s k6.js
//
// Each virtual user is one WebSocket that asks TURNS questions, one after the other. `first_token` and `turn` are times in
// milliseconds; `whole` is the rate of answers that are what the server wrote, by seq and SHA-256.
import { check, fail } from "k6";
import crypto from "k6/crypto";
import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import ws from "k6/ws";

const BASE = __ENV.BASE || "http://127.0.0.1:8000";
const TURNS = Number(__ENV.TURNS || 3);
const SCRIPT = JSON.parse(__ENV.SCRIPT || '{"tokens": 20, "interval_ms": 50}');

const firstToken = new Trend("first_token", true);
const turn = new Trend("turn", true);
const whole = new Rate("whole");
const tokens = new Counter("tokens");
const errors = new Counter("errors");

export const options = { thresholds: { whole: ["rate==1"], errors: ["count==0"] } };

// One account for all: a password hash costs the server more than a turn.
export function setup() {
  const random = () => `${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`;
  const body = { name: "Load", email: `${random()}@example.org`, password: `${random()}-${random()}` };
  const response = http.post(`${BASE}/api/v1/auth/register`, JSON.stringify(body), {
    headers: { "Content-Type": "application/json" },
  });
  if (response.status !== 201) fail(`cannot register an account at ${BASE}: ${response.error || response.body}`);
  return { token: response.json("access_token") };
}

export default function ({ token }) {
  const url = `${BASE.replace("http", "ws")}/ws/chat`;
  const headers = { Authorization: `Bearer ${token}`, "Sec-WebSocket-Protocol": "chat.v2" };
  const response = ws.connect(url, { headers }, (socket) => {
    let left = TURNS;
    let started, text, nextSeq;

    const ask = () => {
      started = Date.now();
      text = "";
      nextSeq = 0;
      left -= 1;
      const message = {
        type: "message",
        message: "How does this hold under load?",
        client_message_id: `${__VU}-${__ITER}-${left}-${started}`,
        metadata: { script: SCRIPT },
      };
      socket.send(JSON.stringify(message));
    };
    const ended = (isWhole) => {
      whole.add(isWhole);
      turn.add(Date.now() - started);
      if (left > 0) ask();
      else socket.close(1000);
    };

    socket.on("message", (data) => {
      const frame = JSON.parse(data);
      if (frame.type === "auth_success") {
        ask();
      } else if (frame.type === "token") {
        if (nextSeq === 0) firstToken.add(Date.now() - started);
        if ((frame.first_seq ?? frame.seq) !== nextSeq) errors.add(1, { code: "GAP" });
        text += frame.token;
        tokens.add(frame.seq + 1 - nextSeq);
        nextSeq = frame.seq + 1;
      } else if (frame.type === "complete") {
        ended(text === frame.response && crypto.sha256(text, "hex") === frame.sha256);
      } else if (frame.type === "error" || frame.type === "auth_error") {
        errors.add(1, { code: frame.code });
        ended(false);
      }
    });
    socket.on("error", (error) => errors.add(1, { code: error.error() }));
    socket.setTimeout(() => socket.close(1000), 120_000);
  });
  check(response, { upgraded: (answer) => answer && answer.status === 101 });
}
