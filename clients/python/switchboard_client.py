"""A small asyncio client of Switchboard. Needs Python 3.11 or newer and `websockets` 14 or newer.

    account = await login("http://localhost:8000", "ada@example.org", "correct horse battery staple")
    async with SwitchboardClient("http://localhost:8000", account) as client:
        async for frame in client.ask("What is the engine power?"):
            if frame["type"] == "token":
                print(frame["token"], end="", flush=True)

A lost connection is made again, and a running answer goes on after its last token: the tokens you see are the answer,
each of them once. `turn.text` is always the answer so far. Show it anew on `resumed`: a server that was killed may have
lost the latest tokens, and then it is shorter. The protocol is docs/WEBSOCKET.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

MAX_WAIT_S = 30.0


def _may_reconnect(code: int) -> bool:
    """Whether a new connection may get on after this close code; 4408 comes to a device that slept, and is awake now."""
    return code in (1001, 1005, 1006, 1011, 1012, 1013, 4408) or 4000 <= code < 4400


class SwitchboardError(Exception):
    """What the server says went wrong. `code` is a row of the error table, or a close code."""

    def __init__(self, frame: dict[str, Any]) -> None:
        super().__init__(f"{frame['code']}: {frame['error']}")
        self.code = frame["code"]
        self.retryable = frame.get("retryable", False)
        self.retry_after_ms = frame.get("retry_after_ms")
        self.correlation_id = frame.get("correlation_id")


def _post(base: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        base.rstrip("/") + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        try:
            frame = json.loads(error.read())
        except ValueError:
            frame = {"code": f"HTTP_{error.code}", "error": f"the server answered {error.code}"}
        raise SwitchboardError(frame) from None


async def register(base: str, name: str, email: str, password: str) -> dict[str, Any]:
    """Makes an account; answers access_token, refresh_token, expires_in and user."""
    body = {"name": name, "email": email, "password": password}
    return await asyncio.to_thread(_post, base, "/api/v1/auth/register", body)


async def login(base: str, email: str, password: str) -> dict[str, Any]:
    return await asyncio.to_thread(_post, base, "/api/v1/auth/login", {"email": email, "password": password})


class Turn:
    """One question and its answer as it arrives: iterate over it once."""

    def __init__(self, client: SwitchboardClient, message: str, session_id: str | None, metadata: dict | None) -> None:
        self.client = client
        self.message = message
        self.session_id = session_id
        self.metadata = metadata
        self.client_message_id = uuid.uuid4().hex
        self.turn_id: str | None = None
        self.last_seq = -1
        # A `resume` is on its way: until its `resumed`, what comes of this turn will come again.
        self.resuming = False
        # The text of each frame, and the first seq in it.
        self.pieces: list[tuple[int, str]] = []
        self.starting: asyncio.Task[None] | None = None
        self.frames: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(text for _, text in self.pieces)

    def drop_from(self, seq: int) -> bool:
        """Drops the tokens from `seq` on, and those before it that came in one frame with them; False if there were any."""
        while self.last_seq >= seq:
            first_seq, _ = self.pieces.pop()
            self.last_seq = first_seq - 1
        return self.last_seq == seq - 1

    async def cancel(self) -> None:
        """Stops the answer. It ends in `complete` with `finish_reason` `cancelled`."""
        if self.turn_id:
            await self.client.send({"type": "cancel", "turn_id": self.turn_id})

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while (frame := await self.frames.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame


class SwitchboardClient:
    """`account` is what `register` or `login` answered; `{"access_token": …}` alone will do, then nothing is refreshed.

    `on_notice` gets what operators tell people: `message`, and `level`, which is "info" or "warning". Every `ping_after_s`
    the server is asked for a sign of life; when none comes within `pong_within_s`, the connection is made again.
    """

    def __init__(
        self,
        base: str,
        account: dict[str, Any],
        dialect: str = "chat.v2",
        *,
        on_notice: Callable[[str, str], None] = lambda message, level: None,
        ping_after_s: float = 20.0,
        pong_within_s: float = 10.0,
    ) -> None:
        self._base = base
        self._account = account
        self._dialect = dialect
        self._on_notice = on_notice
        self._ping_after_s = ping_after_s
        self._pong_within_s = pong_within_s
        self._reconnect_after_s: float | None = None
        self._socket: Any = None
        self._ready = False
        self._refreshed = False
        self._failure: Exception | None = None
        self._turns: dict[str, Turn] = {}
        self._unnamed: list[Turn] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SwitchboardClient:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leaves. Answers go on at the server, and are in the conversation's history."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._end_all(SwitchboardError({"code": "CLOSED", "error": "the client was closed"}))

    def ask(self, message: str, session_id: str | None = None, metadata: dict | None = None) -> Turn:
        """Asks; with `session_id`, in the conversation that goes by it."""
        turn = Turn(self, message, session_id, metadata)
        if self._failure:
            turn.frames.put_nowait(self._failure)
            return turn
        self._unnamed.append(turn)
        if self._ready:
            turn.starting = asyncio.create_task(self._start(turn))  # kept, or it may be collected
        return turn

    async def send(self, frame: dict[str, Any]) -> None:
        """Sends a frame when connected; what matters is said again after a reconnect."""
        if self._socket:
            try:
                await self._socket.send(json.dumps(frame))
            except ConnectionClosed:
                pass

    async def _run(self) -> None:
        attempt = 0
        try:
            while True:
                close_code, connected = await self._session()
                attempt = 0 if connected else attempt + 1
                if close_code == 4401 and not self._refreshed and "refresh_token" in self._account:
                    await self._refresh()
                elif not _may_reconnect(close_code):
                    raise SwitchboardError({"code": close_code, "error": "the server closed the connection"})
                else:
                    # As long as the server asked, which asks each client for another time. Else longer after every
                    # failure, and by chance: clients must not come back all at once.
                    wait, self._reconnect_after_s = self._reconnect_after_s, None
                    if wait is None:
                        wait = min(MAX_WAIT_S, 0.5 * 2**attempt) * random.uniform(0.5, 1.0)
                    await asyncio.sleep(wait)
        except Exception as error:
            self._failure = error
            self._end_all(error)

    async def _session(self) -> tuple[int, bool]:
        """Lives through one WebSocket; answers its close code, and whether it ever was authenticated."""
        url = self._base.replace("http", "ws", 1).rstrip("/") + "/ws/chat"
        headers = {"Authorization": f"Bearer {self._account['access_token']}"}
        connected = False
        # A peer that gives no sign of life does not answer a close either.
        life = {"ping_interval": self._ping_after_s, "ping_timeout": self._pong_within_s, "close_timeout": 1}
        try:
            async with connect(
                url, subprotocols=[self._dialect], additional_headers=headers, max_size=None, **life
            ) as socket:
                self._socket = socket
                async for text in socket:
                    await self._receive(json.loads(text))
                    connected = connected or self._ready
                return socket.close_code or 1006, connected
        except ConnectionClosed as closed:
            return (closed.rcvd.code if closed.rcvd else 1006), connected
        except InvalidStatus as refused:
            if refused.response.status_code < 500 and refused.response.status_code != 429:
                raise
            with contextlib.suppress(KeyError, ValueError):
                self._reconnect_after_s = float(refused.response.headers["Retry-After"])
            return 1013, connected
        except (OSError, EOFError, asyncio.TimeoutError):
            return 1006, connected
        finally:
            self._socket = None
            self._ready = False

    async def _receive(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "auth_success":
                first, self._ready, self._refreshed = not self._ready, True, False
                if first:
                    for turn in self._turns.values():
                        await self._resume(turn)
                for turn in list(self._unnamed):
                    await self._start(turn)
            case "auth_expiring":
                await self._authenticate_again()
            case "auth_error":
                if self._refreshed or "refresh_token" not in self._account:
                    raise SwitchboardError({"code": frame["code"], "error": frame["message"]})
                await self._authenticate_again()
            case "error":
                await self._on_error(frame)
            case "heartbeat":
                # How far the server says it has come: what is missing was lost on the way.
                for place in frame["turns"]:
                    turn = self._turns.get(place["turn_id"])
                    if turn and not turn.resuming and place["seq"] > turn.last_seq:
                        await self._resume(turn)
            case "going_away":
                self._reconnect_after_s = frame["reconnect_after_ms"] / 1000
            case "notice":
                self._on_notice(frame["message"], frame["level"])
            case "progress" | "resumed" | "token" | "complete":
                await self._on_turn_frame(frame)

    async def _start(self, turn: Turn) -> None:
        frame = {"type": "message", "message": turn.message, "client_message_id": turn.client_message_id}
        if turn.session_id:
            frame["session_id"] = turn.session_id
        if turn.metadata:
            frame["metadata"] = turn.metadata
        await self.send(frame)

    async def _resume(self, turn: Turn) -> None:
        turn.resuming = True
        await self.send(
            {"type": "resume", "session_id": turn.session_id, "turn_id": turn.turn_id, "last_seq": turn.last_seq}
        )

    async def _on_turn_frame(self, frame: dict[str, Any]) -> None:
        turn = self._turn_of(frame)
        if turn is None:
            return  # of another client of this user
        if frame["type"] == "resumed":
            turn.resuming = False
            if not turn.drop_from(frame["from_seq"]):
                await self._resume(turn)
                return
        elif turn.resuming:
            return
        if frame["type"] == "token":
            first_seq = frame.get("first_seq", frame["seq"])
            if frame["seq"] <= turn.last_seq:
                return
            if first_seq != turn.last_seq + 1:
                await self._resume(turn)
                return
            turn.pieces.append((first_seq, frame["token"]))
            turn.last_seq = frame["seq"]
        if frame["type"] == "complete":
            del self._turns[frame["turn_id"]]
            answer = turn.text
            if answer != frame["response"] or hashlib.sha256(answer.encode()).hexdigest() != frame["sha256"]:
                error = {"code": "CORRUPT_ANSWER", "error": "the answer is not what was sent"}
                turn.frames.put_nowait(SwitchboardError(error))
                return
        turn.frames.put_nowait(frame)
        if frame["type"] == "complete":
            turn.frames.put_nowait(None)

    def _turn_of(self, frame: dict[str, Any]) -> Turn | None:
        if known := self._turns.get(frame["turn_id"]):
            return known
        sessions = {turn.session_id for turn in self._turns.values()}
        for turn in self._unnamed:
            if "client_message_id" in frame:
                mine = turn.client_message_id == frame["client_message_id"]
            else:
                mine = turn.session_id == frame["session_id"] or (
                    turn.session_id is None and frame["session_id"] not in sessions
                )
            if mine:
                self._unnamed.remove(turn)
                turn.turn_id, turn.session_id = frame["turn_id"], frame["session_id"]
                self._turns[frame["turn_id"]] = turn
                return turn
        return None

    async def _on_error(self, frame: dict[str, Any]) -> None:
        if frame["code"] == "AUTH_EXPIRED" and "refresh_token" in self._account:
            await self._authenticate_again()
            return
        turn = self._turns.get(frame.get("turn_id"))
        if turn and turn.resuming and frame["code"] == "TURN_INTERRUPTED":
            return
        if turn:
            del self._turns[turn.turn_id]
        else:
            mine = [t for t in self._unnamed if t.client_message_id == frame.get("client_message_id")]
            if not mine:
                return
            turn = mine[0]
            self._unnamed.remove(turn)
        turn.frames.put_nowait(SwitchboardError(frame))

    async def _authenticate_again(self) -> None:
        if "refresh_token" in self._account:
            await self._refresh()
            await self.send({"type": "auth", "token": self._account["access_token"]})

    async def _refresh(self) -> None:
        self._refreshed = True
        body = {"refresh_token": self._account["refresh_token"]}
        self._account = await asyncio.to_thread(_post, self._base, "/api/v1/auth/refresh", body)

    def _end_all(self, error: Exception) -> None:
        for turn in [*self._turns.values(), *self._unnamed]:
            turn.frames.put_nowait(error)
        self._turns.clear()
        self._unnamed.clear()
