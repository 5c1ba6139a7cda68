"""python probe.py URL ACCESS_TOKEN PING_AFTER_MS PONG_WITHIN_MS

The same as probe.mjs, with the other client.
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python"))

from switchboard_client import SwitchboardClient, SwitchboardError  # noqa: E402


def say(news: dict) -> None:
    print(json.dumps(news), flush=True)


async def main(url: str, token: str, ping_after_ms: str, pong_within_ms: str) -> None:
    async with SwitchboardClient(
        url,
        {"access_token": token},
        on_notice=lambda message, level: say({"notice": {"message": message, "level": level}}),
        ping_after_s=int(ping_after_ms) / 1000,
        pong_within_s=int(pong_within_ms) / 1000,
    ) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            turn = client.ask(**json.loads(line))
            code = None
            try:
                async for frame in turn:
                    say({"frame": frame, "text": turn.text})
            except SwitchboardError as error:
                code = error.code
            say({"end": {"text": turn.text, "code": code}})


asyncio.run(main(*sys.argv[1:]))
