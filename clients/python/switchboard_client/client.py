"""The chat client: questions, their turns, and open conversations."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from .account import SignIn, SwitchboardError
from .connection import Connection, Listener
from .turn import Turn

# Codes that refuse a `resume` for now. Other errors of a turn that is being resumed come again after `resumed`.
RESUME_LATER = ("RATE_LIMITED", "OVERLOADED")
# Codes that refuse a `resume` for good.
RESUME_NEVER = ("RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD", "PROCESSING_ERROR", "AUTH_REQUIRED")
# Codes that answer a `cancel` and do not end the turn.
NO_END = (
    "RATE_LIMITED",
    "AUTH_EXPIRED",
    "AUTH_REQUIRED",
    "RESUME_UNAVAILABLE",
    "FORBIDDEN",
    "NOT_FOUND",
    "INVALID_FIELD",
)


def _conversation_of(frame: dict[str, Any]) -> str:
    """The id of a frame's conversation, which `chat.v1` and older servers call `session_id`."""
    return frame.get("conversation_id") or frame.get("session_id") or ""


class SwitchboardClient:
    """`account` is the answer of `register` or `login`; `{"access_token": …}` alone will do, then nothing is renewed.

    `on_status` gets the state of the connection, as a dict with `state`: "connecting" (with `attempt`), "open", "reconnecting" (with
    `attempt`, `delay_s` and `error`, while the client waits before the next attempt), or "closed" (with `error` unless the client
    left by itself). `status` is the last one.

    `on_notice` gets notices of operators: `message`, and `level`, which is "info" or "warning". Every `ping_after_s` the server
    is sent a ping; when no pong comes within `pong_within_s`, the client reconnects.
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
        self._sign_in = SignIn(base, account)
        self._on_notice = on_notice
        self._on_status = on_status
        self.status: dict[str, Any] = {"state": "idle"}
        listener = Listener(self._receive, self._on_ready, self._tell, self._fail_unsent)
        life = {"ping_interval": ping_after_s, "ping_timeout": pong_within_s}
        url = base.replace("http", "ws", 1).rstrip("/") + "/ws/chat"
        self._connection = Connection(url, self._sign_in, dialect, listener, life)
        self._failure: Exception | None = None
        self._turns: dict[str, Turn] = {}
        self._unnamed: list[Turn] = []
        # The client_message_ids of questions that were withdrawn.
        self._withdrawn: set[str] = set()
        self._conversations: dict[str, dict[str, Any]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SwitchboardClient:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leaves. Answers go on at the server, and are in the conversation's history."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close()
        self._end_all(SwitchboardError({"code": "CLOSED", "error": "the client was closed"}))
        self._tell({"state": "closed"})

    def ask(
        self,
        message: str,
        conversation_id: str | None = None,
        metadata: dict | None = None,
        *,
        timeout_s: float | None = None,
        session_id: str | None = None,
    ) -> Turn:
        """Asks; with `conversation_id`, in that conversation (`session_id` is an older name of it). The question waits as long as
        the server cannot be reached, at most `timeout_s` for the whole answer; then the answer is stopped, and ends in an error
        with the code TIMEOUT.
        """
        turn = Turn(self, message, conversation_id or session_id, metadata, timeout_s)
        if self._failure:
            turn.end(self._failure)
            return turn
        self._unnamed.append(turn)
        if self._connection.is_ready:
            self._connection.spawn(self._start(turn))
        return turn

    def open(
        self,
        conversation_id: str,
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
        self._conversations[conversation_id] = {
            "turn_id": turn_id,
            "last_seq": last_seq,
            "on_turn": on_turn,
            "on_reload": on_reload,
            "on_error": on_error,
        }
        if self._connection.is_ready:
            self._connection.spawn(self._subscribe(conversation_id))

    async def send(self, frame: dict[str, Any]) -> None:
        """Sends a frame if connected; what matters is sent again after a reconnect."""
        await self._connection.send(frame)

    def forget(self, turn: Turn) -> None:
        """Gives a turn up: it is stopped, and its frames are ignored."""
        if turn.turn_id:
            self._turns.pop(turn.turn_id, None)
            self._connection.spawn(turn.cancel())
        elif turn.sent_on and turn.client_message_id:
            self._withdrawn.add(turn.client_message_id)
        self._unnamed = [other for other in self._unnamed if other is not turn]

    def _tell(self, status: dict[str, Any]) -> None:
        self.status = status
        self._on_status(status)

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except Exception as error:
            self._failure = error
            self._end_all(error)
            self._tell({"state": "closed", "error": error})

    async def _on_ready(self, is_new: bool) -> None:
        for turn in list(self._turns.values()):
            if is_new or turn.resuming:
                await self._resume(turn)
        for conversation_id in list(self._conversations) if is_new else []:
            await self._subscribe(conversation_id)
        for turn in list(self._unnamed):
            if turn.sent_on != self._connection.incarnation:
                await self._start(turn)

    async def _receive(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "error":
                await self._on_error(frame)
            case "heartbeat":
                # The last seq that the server sent: tokens that are missing here were lost on the way.
                for head in frame["turns"]:
                    turn = self._turns.get(head["turn_id"])
                    if turn and not turn.resuming and head["seq"] > turn.last_seq:
                        await self._resume(turn)
            case "notice":
                self._on_notice(frame["message"], frame["level"])
            case "progress" | "resumed" | "token" | "reasoning" | "part" | "complete":
                await self._on_turn_frame(frame)

    async def _start(self, turn: Turn) -> None:
        turn.sent_on = self._connection.incarnation
        frame = {"type": "message", "message": turn.message, "client_message_id": turn.client_message_id}
        if turn.conversation_id:
            frame["conversation_id"] = turn.conversation_id
        if turn.metadata:
            frame["metadata"] = turn.metadata
        await self.send(frame)

    async def _subscribe(self, conversation_id: str) -> None:
        """Asks for what was missed of a conversation. One with a running turn is asked for with the turn."""
        conversation = self._conversations.get(conversation_id)
        if not conversation or any(turn.conversation_id == conversation_id for turn in self._turns.values()):
            return
        frame = {"type": "resume", "conversation_id": conversation_id}
        if conversation["turn_id"]:
            frame |= {"turn_id": conversation["turn_id"], "last_seq": conversation["last_seq"]}
        await self.send(frame)

    async def _resume(self, turn: Turn) -> None:
        turn.resuming = True
        await self.send(
            {
                "type": "resume",
                "conversation_id": turn.conversation_id,
                "turn_id": turn.turn_id,
                "last_seq": turn.last_seq,
                "last_index": turn.last_index,
            }
        )

    async def _on_turn_frame(self, frame: dict[str, Any]) -> None:
        conversation = self._conversations.get(_conversation_of(frame))
        if conversation and frame.get("reload_history"):
            conversation["on_reload"]()
        turn = await self._turn_of(frame)
        if turn is None:
            return  # of another client of this user
        if frame["type"] == "resumed":
            turn.resuming = False
            turn.last_index = min(turn.last_index, frame.get("index", 0) - 1)
            if not turn.drop_from(frame["from_seq"]):
                await self._resume(turn)
                return
        elif turn.resuming:
            return
        elif "index" in frame:
            if frame["index"] <= turn.last_index:
                return  # known already
            turn.last_index = frame["index"]
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
            reason = "the answer differs from what the server wrote; read it from the conversation's history"
            turn.end(SwitchboardError({"code": "CORRUPT_ANSWER", "error": reason}))
        turn.end(frame)

    async def _turn_of(self, frame: dict[str, Any]) -> Turn | None:
        turn_id, message_id = frame.get("turn_id"), frame.get("client_message_id")
        conversation_id = _conversation_of(frame)
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
                turn.turn_id, turn.conversation_id = turn_id, conversation_id
                self._turns[turn.turn_id] = turn
                return turn
        conversation = self._conversations.get(conversation_id)
        if not conversation or frame.get("step") != "starting" or "question" not in frame:
            return None
        if conversation["turn_id"] == turn_id and conversation["last_seq"] >= 0:
            return None
        turn = Turn(self, frame["question"], conversation_id, None)
        turn.turn_id, turn.client_message_id = turn_id, message_id
        self._turns[turn_id] = turn
        conversation["on_turn"](turn)
        return turn

    def _ended(self, turn: Turn) -> None:
        """A turn has ended; the next `resume` of its conversation begins after it."""
        self._turns.pop(turn.turn_id or "", None)
        if conversation := self._conversations.get(turn.conversation_id or ""):
            conversation |= {"turn_id": turn.turn_id, "last_seq": turn.last_seq}

    async def _on_error(self, frame: dict[str, Any]) -> None:
        code, message_id = frame["code"], frame.get("client_message_id")
        turn = self._turns.get(frame.get("turn_id", ""))
        if turn is None and message_id:
            turn = next((turn for turn in self._unnamed if turn.client_message_id == message_id), None)
        if turn is None and not message_id and "turn_id" not in frame and not _conversation_of(frame):
            # It answers a frame that could not be read: the oldest question without an answer, if any.
            turn = next((turn for turn in self._unnamed if turn.sent_on == self._connection.incarnation), None)
        if code == "AUTH_EXPIRED" and self._sign_in.can_renew:
            if turn and not turn.turn_id:
                turn.sent_on = 0
            self._connection.spawn(self._connection.authenticate_again())
            return
        refusal = self._sign_in.refusal if code == "AUTH_EXPIRED" else None
        error = refusal or SwitchboardError(frame)
        again_s = frame.get("retry_after_ms", 1000) / 1000
        if turn is None:
            self._withdrawn.discard(message_id or "")
            conversation_id = _conversation_of(frame)
            if conversation := self._conversations.get(conversation_id):
                if code == "RESUME_UNAVAILABLE":
                    conversation["on_reload"]()
                elif code in RESUME_NEVER:
                    conversation["on_error"](error)
                elif code in RESUME_LATER:
                    self._connection.spawn(self._later(again_s, lambda: self._subscribe(conversation_id)))
        elif turn.resuming and code in RESUME_LATER:
            self._connection.spawn(self._later(again_s, lambda: self._resume_again(turn)))
        elif code in RESUME_NEVER if turn.resuming else not turn.turn_id or code not in NO_END:
            if turn.turn_id:
                self._ended(turn)
            else:
                self._unnamed.remove(turn)
            turn.end(error)

    async def _later(self, wait_s: float, work: Callable[[], Any]) -> None:
        await asyncio.sleep(wait_s)
        if self._connection.is_ready:
            await work()

    async def _resume_again(self, turn: Turn) -> None:
        if turn.resuming and not turn.ended:
            await self._resume(turn)

    def _fail_unsent(self, error: SwitchboardError) -> None:
        """Fails the questions that wait for a new token, which the server refuses."""
        for turn in [turn for turn in self._unnamed if not turn.sent_on]:
            self._unnamed.remove(turn)
            turn.end(error)

    def _end_all(self, error: Exception) -> None:
        for turn in [*self._turns.values(), *self._unnamed]:
            turn.end(error)
        self._turns.clear()
        self._unnamed.clear()
        self._withdrawn.clear()
