"""A small asyncio client of Switchboard. Needs Python 3.11 or newer and `websockets` 14 or newer. Copy the whole folder.

    account = await login("http://localhost:8000", "ada@example.org", "correct horse battery staple")
    async with SwitchboardClient("http://localhost:8000", account) as client:
        async for frame in client.ask("What is the engine power?"):
            if frame["type"] == "token":
                print(frame["token"], end="", flush=True)

The client reconnects, and a running answer goes on after its last token: the tokens you see are the answer, each of them once.
`turn.text` is always the answer so far. Show it anew on `resumed`: a server that was killed may have lost the latest tokens, and
then it is shorter. Frames of the types `reasoning` (its `delta` is text that the model thinks) and `part` (ignore kinds that you
do not know) are no part of `turn.text`. The protocol is docs/WEBSOCKET.md.
"""

from .account import SwitchboardError, login, register
from .client import SwitchboardClient
from .turn import Turn

__all__ = ["SwitchboardClient", "SwitchboardError", "Turn", "login", "register"]
