// Node with `ws` and `fetch`: relays the stream of an OpenAI-compatible server. Verifies no token, stores nothing.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const [port, upstream] = process.argv.slice(2);
const URL = `http://${upstream}/v1/chat/completions`;
const AUTH_SUCCESS = JSON.stringify({ type: "auth_success", message: "Authentication successful" });

const http = createServer((_, response) => response.writeHead(404).end());
const server = new WebSocketServer({ server: http, path: "/ws/chat", handleProtocols: () => "chat.v2" });

server.on("connection", (socket, upgrade) => {
  const abort = new AbortController();
  if (upgrade.headers.authorization) socket.send(AUTH_SUCCESS);
  socket.on("message", (data) => {
    const request = JSON.parse(data);
    if (request.type === "auth") socket.send(AUTH_SUCCESS);
    else if (request.type === "message") answer(socket, request, abort.signal).catch(() => socket.terminate());
  });
  socket.on("close", () => abort.abort());
  socket.on("error", () => socket.terminate());
});

async function answer(socket, { message, client_message_id }, signal) {
  const ids = { turn_id: "1", turn: 1 };
  const send = (frame) => socket.send(JSON.stringify(frame));
  send({ type: "progress", step: "starting", message: "Starting", ...ids, client_message_id });
  const upstream = await fetch(URL, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "bench", stream: true, messages: [{ role: "user", content: message }] }),
    signal,
  });
  const decoder = new TextDecoder();
  let text = "";
  let response = "";
  let seq = 0;
  for await (const bytes of upstream.body) {
    text += decoder.decode(bytes, { stream: true });
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const token = JSON.parse(line.slice(6)).choices[0]?.delta.content;
      if (!token) continue;
      response += token;
      send({ type: "token", token, turn: 1, seq });
      seq += 1;
    }
  }
  send({ type: "complete", response, ...ids, finish_reason: "stop" });
}

http.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });
