// Node with `ws`. Does the peers' job (src/lib.rs says what that is).

import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const AUTH_SUCCESS = JSON.stringify({
  type: "auth_success",
  message: "Authentication successful",
  user: { id: "018f0000-0000-7000-8000-000000000000", email: "load@example.org", name: "Load" },
  expires_at: 4102444800,
});

const http = createServer((_, response) => response.writeHead(404).end());
const server = new WebSocketServer({ server: http, path: "/ws/chat", handleProtocols: () => "chat.v2" });

server.on("connection", (socket, upgrade) => {
  let timer;
  if (upgrade.headers.authorization) socket.send(AUTH_SUCCESS);
  socket.on("message", (data) => {
    const request = JSON.parse(data);
    if (request.type === "auth") socket.send(AUTH_SUCCESS);
    else if (request.type === "message") answer(request);
  });
  socket.on("close", () => clearTimeout(timer));
  socket.on("error", () => socket.terminate());

  function answer(request) {
    const script = { tokens: 20, interval_ms: 20, token_bytes: 6, ...request.metadata?.script };
    if (script.tokens * script.token_bytes > MAX_ANSWER_BYTES) return;
    const [turn_id, session_id] = [randomUUID(), randomUUID()];
    const { client_message_id } = request;
    const send = (frame) => socket.send(JSON.stringify(frame));
    send({ type: "progress", step: "starting", message: "Starting", session_id, turn_id, client_message_id });
    const started = performance.now();
    let seq = 0;
    let response = "";
    const next = () => {
      if (socket.readyState !== socket.OPEN) return;
      // Token n is due n intervals after the first, whatever delayed those before it.
      while (seq < script.tokens) {
        const wait = started + seq * script.interval_ms - performance.now();
        if (wait > 0) {
          timer = setTimeout(next, wait);
          return;
        }
        const token = `w${String(seq).padStart(script.token_bytes - 2, "0")} `;
        response += token;
        send({ type: "token", token, turn_id, session_id, seq });
        seq += 1;
      }
      const sha256 = createHash("sha256").update(response).digest("hex");
      const end = { message_id: turn_id, seq: seq - 1, finish_reason: "stop", sha256 };
      send({ type: "complete", response, session_id, metadata: {}, turn_id, ...end });
    };
    next();
  }
});

http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
