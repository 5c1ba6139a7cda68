"""python example.py [http://localhost:8000] [question]

Registers a throw-away user, or uses the access token in SWITCHBOARD_TOKEN.
"""

import asyncio
import os
import sys
import uuid

from switchboard_client import SwitchboardClient, register


async def main(base: str = "http://localhost:8000", question: str = "What is the engine power?") -> None:
    if token := os.environ.get("SWITCHBOARD_TOKEN"):
        account = {"access_token": token}
    else:
        account = await register(base, "Example", f"{uuid.uuid4()}@example.org", uuid.uuid4().hex)

    async with SwitchboardClient(base, account) as client:
        async for frame in client.ask(question):
            match frame["type"]:
                case "progress":
                    print("·", frame["message"], file=sys.stderr)
                case "token":
                    print(frame["token"], end="", flush=True)
                case "complete":
                    metadata = frame["metadata"]
                    specialist = (
                        metadata.get("specialist") or metadata["agent"]
                    )  # chat.v1 and older servers say `agent`
                    print(f"\n\n{specialist}, SHA-256 verified")
                    for source in metadata["sources"]:
                        print(f"- {source['source']}: {source['title']}")


asyncio.run(main(*sys.argv[1:3]))
