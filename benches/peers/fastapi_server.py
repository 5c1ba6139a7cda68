"""FastAPI on uvicorn: what many a chat server is today. Does the peers' job (src/lib.rs says what that is)."""

import asyncio
import hashlib
import json
import time
import uuid

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
AUTH_SUCCESS = json.dumps(
    {
        "type": "auth_success",
        "message": "Authentication successful",
        "user": {"id": "018f0000-0000-7000-8000-000000000000", "email": "load@example.org", "name": "Load"},
        "expires_at": 4102444800,
    }
)
MAX_ANSWER_BYTES = 4 * 1024 * 1024


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
                # A task of its own, so that a goodbye is seen while it streams.
                turn = asyncio.create_task(answer(socket, request))
    except WebSocketDisconnect:
        pass
    finally:
        if turn is not None:
            turn.cancel()


async def answer(socket: WebSocket, request: dict):
    script = {"tokens": 20, "interval_ms": 20, "token_bytes": 6} | request.get("metadata", {}).get("script", {})
    if script["tokens"] * script["token_bytes"] > MAX_ANSWER_BYTES:
        return
    turn_id, conversation_id = str(uuid.uuid4()), str(uuid.uuid4())
    start = {"type": "progress", "step": "starting", "message": "Starting", "session_id": conversation_id}
    start |= {"turn_id": turn_id, "client_message_id": request["client_message_id"]}
    await socket.send_text(json.dumps(start, separators=(",", ":")))
    tokens = []
    started = time.monotonic()
    for seq in range(script["tokens"]):
        # Token n is due n intervals after the first, whatever delayed those before it.
        wait = started + seq * script["interval_ms"] / 1000 - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        token = f"w{seq:0{script['token_bytes'] - 2}d} "
        tokens.append(token)
        frame = {"type": "token", "token": token, "turn_id": turn_id, "session_id": conversation_id, "seq": seq}
        await socket.send_text(json.dumps(frame, separators=(",", ":")))
    response = "".join(tokens)
    end = {"type": "complete", "response": response, "session_id": conversation_id, "metadata": {}, "turn_id": turn_id}
    end |= {"message_id": turn_id, "seq": len(tokens) - 1, "finish_reason": "stop"}
    end["sha256"] = hashlib.sha256(response.encode()).hexdigest()
    await socket.send_text(json.dumps(end, separators=(",", ":")))
