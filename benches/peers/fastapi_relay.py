"""FastAPI on uvicorn with httpx: relays the stream of an OpenAI-compatible server. Verifies no token, stores nothing."""

import asyncio
import json
import os

import httpx
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
UPSTREAM = f"http://{os.environ.get('UPSTREAM')}/v1/chat/completions"
# As many connections as there are clients; the default is 100.
client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60)
AUTH_SUCCESS = json.dumps({"type": "auth_success", "message": "Authentication successful"})


@app.websocket("/ws/chat")
async def chat(socket: WebSocket):
    await socket.accept(subprotocol="chat.v2")
    if "authorization" in socket.headers:
        await socket.send_text(AUTH_SUCCESS)
    turn = None
    try:
        while True:
            request = json.loads(await socket.receive_text())
            if request["type"] == "auth":
                await socket.send_text(AUTH_SUCCESS)
            elif request["type"] == "message":
                # A task of its own, so that a close is seen while it streams.
                turn = asyncio.create_task(answer(socket, request))
    except WebSocketDisconnect:
        pass
    finally:
        if turn is not None:
            turn.cancel()


def dump(frame):
    return json.dumps(frame, separators=(",", ":"))


async def answer(socket: WebSocket, request: dict):
    ids = {"turn_id": "1", "turn": 1}
    start = {"type": "progress", "step": "starting", "message": "Starting", **ids}
    await socket.send_text(dump(start | {"client_message_id": request["client_message_id"]}))
    body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": request["message"]}]}
    tokens = []
    async with client.stream("POST", UPSTREAM, json=body) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            choices = json.loads(line[6:])["choices"]
            token = choices[0]["delta"].get("content") if choices else None
            if token:
                await socket.send_text(dump({"type": "token", "token": token, "turn": 1, "seq": len(tokens)}))
                tokens.append(token)
    end = {"type": "complete", "response": "".join(tokens), **ids, "finish_reason": "stop"}
    await socket.send_text(dump(end))
