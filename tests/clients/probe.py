"""python probe.py URL ACCOUNT PING_AFTER_MS PONG_WITHIN_MS DIALECT

The same as probe.mjs, with the other client.
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python"))

from switchboard_client import SwitchboardClient, SwitchboardError


def say(news: dict) -> None:
    print(json.dumps(news), flush=True)


async def read(turn, tell) -> dict:
    code = None
    try:
        async for frame in turn:
            tell(frame)
    except SwitchboardError as error:
        code = error.code
    return {"text": turn.text, "code": code}


async def tell_other(turn) -> None:
    say({"other": {"question": turn.message, **await read(turn, lambda frame: None)}})


async def main(url: str, account: str, ping_after_ms: str, pong_within_ms: str, dialect: str) -> None:
    others = []
    async with SwitchboardClient(
        url,
        json.loads(account),
        dialect,
        on_notice=lambda message, level: say({"notice": {"message": message, "level": level}}),
        on_status=lambda status: say({"status": {"state": status["state"], "attempt": status.get("attempt", 0)}}),
        ping_after_s=int(ping_after_ms) / 1000,
        pong_within_s=int(pong_within_ms) / 1000,
    ) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            if "open" in asked:
                place = asked["open"]
                client.open(
                    place["session_id"],
                    turn_id=place["turn_id"],
                    last_seq=place["last_seq"],
                    on_turn=lambda turn: others.append(asyncio.create_task(tell_other(turn))),
                )
                continue
            # A text that was cut inside an emoji.
            message = asked["message"] + ("\ud83d" if asked.get("is_cut") else "")
            timeout_ms = asked.get("timeout_ms")
            turn = client.ask(message, metadata=asked["metadata"], timeout_s=timeout_ms and timeout_ms / 1000)
            say({"end": await read(turn, lambda frame, turn=turn: say({"frame": frame, "text": turn.text}))})


asyncio.run(main(*sys.argv[1:]))
