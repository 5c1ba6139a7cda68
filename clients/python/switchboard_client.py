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
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

MAX_WAIT_S = 30.0

# What refuses a `resume` for now, and for good. Other errors of a turn that is being resumed come again after `resumed`.
RESUME_LATER = ("RATE_LIMITED", "OVERLOADED")
RESUME_NEVER = (
    "RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD", "PROCESSING_ERROR", "AUTH_REQUIRED"
)


def _may_reconnect(code: int) -> bool:
    """Whether a new connection may get on after this close code; 4408 comes to a device that slept, and is awake now."""
    return code in (1001, 1005, 1006, 1011, 1012, 1013, 4408) or 4000 <= code < 4400


def _backoff_s(attempt: int) -> float:
    """Longer after every failure, and by chance: clients must not come back all at once."""
    return min(MAX_WAIT_S, 0.5 * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)


def _well_formed(text: str) -> str:
    """Replaces surrogates, which a text has that came from UTF-16 cut inside an emoji, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# What answers a `cancel`, when the turn itself has not ended.
NO_END = (
    "RATE_LIMITED", "AUTH_EXPIRED", "AUTH_REQUIRED", "RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD"
)


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
        frame.setdefault("retryable", error.code >= 500 or error.code in (408, 425, 429))
        raise SwitchboardError(frame) from None


async def register(base: str, name: str, email: str, password: str) -> dict[str, Any]:
    """Makes an account; answers access_token, refresh_token, expires_in and user."""
    body = {"name": name, "email": email, "password": password}
    return await asyncio.to_thread(_post, base, "/api/v1/auth/register", body)


async def login(base: str, email: str, password: str) -> dict[str, Any]:
    return await asyncio.to_thread(_post, base, "/api/v1/auth/login", {"email": email, "password": password})


class Turn:
    """One question and its answer as it arrives: iterate over it once."""

    def __init__(
        self,
        client: SwitchboardClient,
        message: str,
        session_id: str | None,
        metadata: dict | None,
        timeout_s: float | None = None,
    ) -> None:
        self.client = client
        # What JSON cannot carry would be replaced on the way: then the question would not be what is shown.
        self.message = _well_formed(message)
        self.session_id = session_id
        self.metadata = metadata
        self.client_message_id: str | None = uuid.uuid4().hex
        self.turn_id: str | None = None
        # The socket that its message was sent on.
        self.sent_on: Any = None
        self.ended = False
        self.last_seq = -1
        # A `resume` is on its way: until its `resumed`, what comes of this turn will come again.
        self.resuming = False
        # The text of each frame, and the first seq in it.
        self.pieces: list[tuple[int, str]] = []
        self.frames: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        if timeout_s is not None:
            error = {"code": "TIMEOUT", "error": f"no whole answer within {timeout_s} s"}
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout_s, lambda: self._give_up(SwitchboardError(error)))

    def withdraw(self) -> None:
        """Stops waiting, and stops the answer. The iteration ends in an error with the code ABORTED."""
        self._give_up(SwitchboardError({"code": "ABORTED", "error": "the question was withdrawn"}))

    def _give_up(self, error: SwitchboardError) -> None:
        if not self.ended:
            self.client._forget(self)
            self.end(error)

    def end(self, last: dict[str, Any] | Exception | None) -> None:
        if self.ended:
            return
        self.ended = True
        if self._timer:
            self._timer.cancel()
        if last is not None:
            self.frames.put_nowait(last)
        self.frames.put_nowait(None)

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

    `on_status` hears of the connection, as a dict with `state`: "connecting" (with `attempt`), "open", "reconnecting" (with
    `attempt`, `delay_s` and `error`, while the client waits before the next attempt), or "closed" (with `error` when the client did
    not leave by itself). `status` is what it heard last.

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
        on_status: Callable[[dict[str, Any]], None] = lambda status: None,
        ping_after_s: float = 20.0,
        pong_within_s: float = 10.0,
    ) -> None:
        self._base = base
        self._account = account
        self._dialect = dialect
        self._on_notice = on_notice
        self._on_status = on_status
        self.status: dict[str, Any] = {"state": "idle"}
        self._ping_after_s = ping_after_s
        self._pong_within_s = pong_within_s
        self._reconnect_after_s: float | None = None
        self._socket: Any = None
        self._ready = False
        self._renewed = False
        # Why the server will not renew the tokens.
        self._refusal: SwitchboardError | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._turns: dict[str, Turn] = {}
        self._unnamed: list[Turn] = []
        # The client_message_ids whose answers nobody waits for.
        self._withdrawn: set[str] = set()
        self._conversations: dict[str, dict[str, Any]] = {}
        self._task: asyncio.Task[None] | None = None
        # Kept, or they may be collected.
        self._background: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> SwitchboardClient:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leaves. Answers go on at the server, and are in the conversation's history."""
        for task in [self._task, self._renewal, *self._background]:
            if task:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._end_all(SwitchboardError({"code": "CLOSED", "error": "the client was closed"}))
        self._tell({"state": "closed"})

    def ask(
        self,
        message: str,
        session_id: str | None = None,
        metadata: dict | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Turn:
        """Asks; with `session_id`, in the conversation that goes by it. The question waits as long as the server cannot be
        reached, at most `timeout_s` for the whole answer; then the answer is stopped, and ends in an error with the code TIMEOUT.
        """
        turn = Turn(self, message, session_id, metadata, timeout_s)
        if self._failure:
            turn.end(self._failure)
            return turn
        self._unnamed.append(turn)
        if self._ready:
            self._spawn(self._start(turn))
        return turn

    def open(
        self,
        session_id: str,
        *,
        turn_id: str | None = None,
        last_seq: int = -1,
        on_turn: Callable[[Turn], None] = lambda turn: None,
        on_reload: Callable[[], None] = lambda: None,
        on_error: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """Opens a conversation: `on_turn` gets each turn that is started there from elsewhere, as `ask` returns it, with `message`
        the question. Name the last turn of the history: its `turn_id`, and its `last_seq` when there is an answer. `on_reload` is
        called when the history has to be read again, `on_error` when the conversation cannot be opened.
        """
        self._conversations[session_id] = {
            "turn_id": turn_id, "last_seq": last_seq, "on_turn": on_turn, "on_reload": on_reload, "on_error": on_error
        }
        if self._ready:
            self._spawn(self._subscribe(session_id))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _tell(self, status: dict[str, Any]) -> None:
        self.status = status
        self._on_status(status)

    def _forget(self, turn: Turn) -> None:
        """Nobody waits for this turn any more."""
        if turn.turn_id:
            self._turns.pop(turn.turn_id, None)
            self._spawn(turn.cancel())
        elif turn.sent_on and turn.client_message_id:
            self._withdrawn.add(turn.client_message_id)
        self._unnamed = [other for other in self._unnamed if other is not turn]

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
                self._tell({"state": "connecting", "attempt": attempt})
                close_code, connected = await self._session()
                attempt = 0 if connected else attempt + 1
                error = SwitchboardError({"code": close_code, "error": "the connection was closed"})
                if close_code == 4401 and not self._renewed and self._can_renew():
                    await asyncio.shield(self._renew())
                elif not _may_reconnect(close_code):
                    raise self._refusal or error
                else:
                    # As long as the server asked, which asks each client for another time.
                    wait, self._reconnect_after_s = self._reconnect_after_s, None
                    if wait is None:
                        wait = _backoff_s(attempt)
                    self._tell({"state": "reconnecting", "attempt": attempt, "delay_s": wait, "error": error})
                    await asyncio.sleep(wait)
        except Exception as error:
            self._failure = error
            self._end_all(error)
            self._tell({"state": "closed", "error": error})

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
                    frame = json.loads(text)
                    if "conversation_id" in frame:  # `chat.v1` calls it `session_id`
                        frame["session_id"] = frame["conversation_id"]
                    await self._receive(frame)
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
        except (OSError, EOFError, asyncio.TimeoutError, InvalidMessage):
            return 1006, connected
        finally:
            self._socket = None
            self._ready = False

    async def _receive(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "auth_success":
                first, self._ready, self._renewed = not self._ready, True, False
                if first:
                    self._tell({"state": "open"})
                for turn in list(self._turns.values()):
                    if first or turn.resuming:
                        await self._resume(turn)
                for session_id in list(self._conversations) if first else []:
                    await self._subscribe(session_id)
                for turn in list(self._unnamed):
                    if turn.sent_on is not self._socket:
                        await self._start(turn)
            case "auth_expiring":
                # Not before it is time: a server that announces the end at once would be asked without a pause.
                lead_s = min(60.0, self._account.get("expires_in", 240) / 4)
                self._spawn(self._authenticate_again(frame["expires_in"] - lead_s))
            case "auth_error":
                if self._renewed or not self._can_renew():
                    raise self._refusal or SwitchboardError({"code": frame["code"], "error": frame["message"]})
                self._spawn(self._authenticate_again())
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
        turn.sent_on = self._socket
        frame = {"type": "message", "message": turn.message, "client_message_id": turn.client_message_id}
        if turn.session_id:
            frame["session_id"] = turn.session_id
        if turn.metadata:
            frame["metadata"] = turn.metadata
        await self.send(frame)

    async def _subscribe(self, session_id: str) -> None:
        """Asks for what was missed of a conversation. One with a running turn is asked for with the turn."""
        conversation = self._conversations.get(session_id)
        if not conversation or any(turn.session_id == session_id for turn in self._turns.values()):
            return
        frame = {"type": "resume", "session_id": session_id}
        if conversation["turn_id"]:
            frame |= {"turn_id": conversation["turn_id"], "last_seq": conversation["last_seq"]}
        await self.send(frame)

    async def _resume(self, turn: Turn) -> None:
        turn.resuming = True
        await self.send(
            {"type": "resume", "session_id": turn.session_id, "turn_id": turn.turn_id, "last_seq": turn.last_seq}
        )

    async def _on_turn_frame(self, frame: dict[str, Any]) -> None:
        if frame.get("reload_history") and frame["session_id"] in self._conversations:
            self._conversations[frame["session_id"]]["on_reload"]()
        turn = await self._turn_of(frame)
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
        if frame["type"] != "complete":
            turn.frames.put_nowait(frame)
            return
        self._ended(turn)
        answer = turn.text
        if answer != frame["response"] or hashlib.sha256(answer.encode()).hexdigest() != frame["sha256"]:
            turn.end(SwitchboardError({"code": "CORRUPT_ANSWER", "error": "the answer is not what was sent"}))
        turn.end(frame)

    async def _turn_of(self, frame: dict[str, Any]) -> Turn | None:
        turn_id, session_id, message_id = frame.get("turn_id"), frame["session_id"], frame.get("client_message_id")
        if known := self._turns.get(turn_id or ""):
            return known
        if message_id in self._withdrawn:
            self._withdrawn.discard(message_id)
            await self.send({"type": "cancel", "turn_id": turn_id})
            return None
        # Only the first frame of a turn, and the answer to a message that was sent again, tell whose it is.
        for turn in self._unnamed if message_id else []:
            if turn.client_message_id == message_id:
                self._unnamed.remove(turn)
                turn.turn_id, turn.session_id = turn_id, session_id
                self._turns[turn.turn_id] = turn
                return turn
        conversation = self._conversations.get(session_id)
        if not conversation or frame.get("step") != "starting" or "question" not in frame:
            return None
        if conversation["turn_id"] == turn_id and conversation["last_seq"] >= 0:
            return None
        turn = Turn(self, frame["question"], session_id, None)
        turn.turn_id, turn.client_message_id = turn_id, message_id
        self._turns[turn_id] = turn
        conversation["on_turn"](turn)
        return turn

    def _ended(self, turn: Turn) -> None:
        """A turn has ended; the next `resume` of its conversation begins after it."""
        self._turns.pop(turn.turn_id or "", None)
        if conversation := self._conversations.get(turn.session_id or ""):
            conversation |= {"turn_id": turn.turn_id, "last_seq": turn.last_seq}

    async def _on_error(self, frame: dict[str, Any]) -> None:
        code, message_id = frame["code"], frame.get("client_message_id")
        turn = self._turns.get(frame.get("turn_id", ""))
        if turn is None and message_id:
            turn = next((turn for turn in self._unnamed if turn.client_message_id == message_id), None)
        if turn is None and not message_id and "turn_id" not in frame and "session_id" not in frame:
            # It answers a frame that could not be read: the oldest question without an answer, if any.
            turn = next((turn for turn in self._unnamed if turn.sent_on is self._socket), None)
        if code == "AUTH_EXPIRED" and self._can_renew():
            if turn and not turn.turn_id:
                turn.sent_on = None
            self._spawn(self._authenticate_again())
            return
        error = self._refusal if code == "AUTH_EXPIRED" and self._refusal else SwitchboardError(frame)
        again_s = frame.get("retry_after_ms", 1000) / 1000
        if turn is None:
            self._withdrawn.discard(message_id or "")
            session_id = frame.get("session_id", "")
            if conversation := self._conversations.get(session_id):
                if code == "RESUME_UNAVAILABLE":
                    conversation["on_reload"]()
                elif code in RESUME_NEVER:
                    conversation["on_error"](error)
                elif code in RESUME_LATER:
                    self._spawn(self._later(again_s, lambda: self._subscribe(session_id)))
        elif turn.resuming and code in RESUME_LATER:
            self._spawn(self._later(again_s, lambda: self._resume_again(turn)))
        elif code in RESUME_NEVER if turn.resuming else not turn.turn_id or code not in NO_END:
            if turn.turn_id:
                self._ended(turn)
            else:
                self._unnamed.remove(turn)
            turn.end(error)

    async def _later(self, wait_s: float, work: Callable[[], Any]) -> None:
        await asyncio.sleep(wait_s)
        if self._ready:
            await work()

    async def _resume_again(self, turn: Turn) -> None:
        if turn.resuming and not turn.ended:
            await self._resume(turn)

    def _can_renew(self) -> bool:
        return "refresh_token" in self._account and self._refusal is None

    async def _authenticate_again(self, wait_s: float = 0) -> None:
        """A new token for the open connection. What runs goes on meanwhile, also when the server does not renew it."""
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if not self._can_renew():
            return
        try:
            await asyncio.shield(self._renew())
        except SwitchboardError as error:
            for turn in [turn for turn in self._unnamed if turn.sent_on is None]:
                self._unnamed.remove(turn)
                turn.end(error)
            return
        await self.send({"type": "auth", "token": self._account["access_token"]})

    def _renew(self) -> asyncio.Task[None]:
        """Gets a new access token; calls that come meanwhile share it."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._try_to_renew())
        return self._renewal

    async def _try_to_renew(self) -> None:
        """A server or a network in trouble is asked again until it answers: only a refusal, such as 401, ends the sign-in."""
        body = {"refresh_token": self._account["refresh_token"]}
        attempt = 0
        while True:
            error: Exception
            try:
                self._account = await asyncio.to_thread(_post, self._base, "/api/v1/auth/refresh", body)
                self._renewed = True
                return
            except SwitchboardError as refused:
                if not refused.retryable:
                    self._refusal = refused
                    raise
                error, wait_s = refused, max((refused.retry_after_ms or 0) / 1000, _backoff_s(attempt))
            except (OSError, ValueError) as trouble:
                error, wait_s = trouble, _backoff_s(attempt)
            attempt += 1
            if self._socket is None:
                self._tell({"state": "reconnecting", "attempt": attempt, "delay_s": wait_s, "error": error})
            await asyncio.sleep(wait_s)

    def _end_all(self, error: Exception) -> None:
        for turn in [*self._turns.values(), *self._unnamed]:
            turn.end(error)
        self._turns.clear()
        self._unnamed.clear()
        self._withdrawn.clear()
