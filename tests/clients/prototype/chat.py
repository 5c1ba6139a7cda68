"""python chat.py ws://localhost:8000/ws/chat TOKEN

The Python program of the prototype's report. Do not modernise it: programs like this one are what `chat.v1` is kept for.
"""

import asyncio
import json
import sys

import websockets


async def chat(url: str, token: str) -> None:
    async with websockets.connect(url) as ws:
        await ws.send(json.dumps({"type": "auth", "token": token}))
        await ws.send(json.dumps({"type": "message", "message": "Hello"}))
        async for message in ws:
            data = json.loads(message)
            if data["type"] == "token":
                print(data["token"], end="", flush=True)
            elif data["type"] == "complete":
                break


asyncio.run(chat(*sys.argv[1:]))
