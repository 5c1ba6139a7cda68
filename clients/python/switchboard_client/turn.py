"""One question and its answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from .account import SwitchboardError

if TYPE_CHECKING:
    from .client import SwitchboardClient


def well_formed(text: str) -> str:
    """Replaces surrogates, which a text from UTF-16 has that was cut inside an emoji, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Turn:
    """One question and its answer as it arrives: iterate over it once."""

    def __init__(
        self,
        client: SwitchboardClient,
        message: str,
        conversation_id: str | None,
        metadata: dict[str, Any] | None,
        timeout_s: float | None = None,
    ) -> None:
        self.client = client
        # Replaced here, lone surrogates are the same in the question that is shown and in the one that is sent.
        self.message = well_formed(message)
        self.conversation_id = conversation_id
        self.metadata = metadata
        self.client_message_id: str | None = uuid.uuid4().hex
        self.turn_id: str | None = None
        # The incarnation of the connection that its message was sent on; 0 before that.
        self.sent_on = 0
        self.ended = False
        self.last_seq = -1
        # The index of the last frame other than `token`.
        self.last_index = -1
        # A `resume` is on its way: until its `resumed`, frames of this turn will come again.
        self.resuming = False
        # The text of each frame, and the first seq in it.
        self.pieces: list[tuple[int, str]] = []
        self.frames: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        if timeout_s is not None:
            error = {"code": "TIMEOUT", "error": f"no whole answer within {timeout_s} s"}
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout_s, lambda: self._give_up(SwitchboardError(error)))

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(text for _, text in self.pieces)

    @property
    def session_id(self) -> str | None:
        """Another name of `conversation_id`."""
        return self.conversation_id

    async def cancel(self) -> None:
        """Stops the answer. It ends in `complete` with `finish_reason` `cancelled`."""
        if self.turn_id:
            await self.client.send({"type": "cancel", "turn_id": self.turn_id})

    def withdraw(self) -> None:
        """Stops waiting, and stops the answer. The iteration ends in an error with the code ABORTED."""
        self._give_up(SwitchboardError({"code": "ABORTED", "error": "the question was withdrawn"}))

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while (frame := await self.frames.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame

    def drop_from(self, seq: int) -> bool:
        """Drops the tokens from `seq` on, and those before it that came in one frame with them; False if there were any."""
        while self.last_seq >= seq:
            first_seq, _ = self.pieces.pop()
            self.last_seq = first_seq - 1
        return self.last_seq == seq - 1

    def end(self, last: dict[str, Any] | Exception | None) -> None:
        if self.ended:
            return
        self.ended = True
        if self._timer:
            self._timer.cancel()
        if last is not None:
            self.frames.put_nowait(last)
        self.frames.put_nowait(None)

    def _give_up(self, error: SwitchboardError) -> None:
        if not self.ended:
            self.client.forget(self)
            self.end(error)
