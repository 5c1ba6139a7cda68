"""A WebSocket that reconnects: backoff, sign-in and renewal of tokens, signs of life, and a server's `going_away`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from .account import SignIn, SwitchboardError, backoff_s

CLOSED_ABNORMALLY = 1006
TRY_AGAIN_LATER = 1013
UNAUTHENTICATED = 4401


def may_reconnect(code: int) -> bool:
    """Whether a new connection may succeed after this close code; 4408 comes to a device that slept, and is awake now."""
    return code in (1001, 1005, CLOSED_ABNORMALLY, 1011, 1012, TRY_AGAIN_LATER, 4408) or 4000 <= code < 4400


@dataclass
class Listener:
    """The functions that a connection calls."""

    # Each frame, in order.
    on_frame: Callable[[dict[str, Any]], Awaitable[None]]
    # Authenticated; False when the token of an open connection was renewed.
    on_ready: Callable[[bool], Awaitable[None]]
    on_status: Callable[[dict[str, Any]], None]
    # The server will not renew the tokens. The connection lasts until the access token ends.
    on_renewal_refused: Callable[[SwitchboardError], None]


class Connection:
    """A WebSocket at `url` that `run` keeps up."""

    def __init__(self, url: str, sign_in: SignIn, dialect: str, listener: Listener, life: dict[str, float]) -> None:
        self._url = url
        self._sign_in = sign_in
        self._dialect = dialect
        self._listener = listener
        self._life = life
        self._socket: Any = None
        self._reconnect_after_s: float | None = None
        # A refused token is renewed once, not for ever.
        self._has_renewed = False
        self.is_ready = False
        # A number, from 1, that changes with each new WebSocket.
        self.incarnation = 0
        # The ids of turns by their numbers on this WebSocket.
        self._turn_ids: dict[int, dict[str, str]] = {}
        # Kept, or they may be collected.
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Connects and reconnects; raises the error that ends the connection for good."""
        attempt = 0
        while True:
            self._listener.on_status({"state": "connecting", "attempt": attempt})
            code, was_ready = await self._live()
            attempt = 0 if was_ready else attempt + 1
            error = SwitchboardError({"code": code, "error": "the connection was closed"})
            if code == UNAUTHENTICATED and not self._has_renewed and self._sign_in.can_renew:
                await asyncio.shield(self._renew())
            elif not may_reconnect(code):
                raise self._sign_in.refusal or error
            else:
                # The delay that the server asked for, which is another one for each client.
                wait_s, self._reconnect_after_s = self._reconnect_after_s, None
                if wait_s is None:
                    wait_s = backoff_s(attempt)
                self._listener.on_status(
                    {"state": "reconnecting", "attempt": attempt, "delay_s": wait_s, "error": error}
                )
                await asyncio.sleep(wait_s)

    async def send(self, frame: dict[str, Any]) -> None:
        """Sends a frame if connected."""
        if self._socket:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(json.dumps(frame))

    def spawn(self, work: Any) -> None:
        """Runs `work` in the background, until `close`."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def authenticate_again(self, wait_s: float = 0) -> None:
        """Renews the token of the open connection. Turns go on meanwhile, also when the server refuses."""
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if not self._sign_in.can_renew:
            return
        try:
            await asyncio.shield(self._renew())
        except SwitchboardError as error:
            self._listener.on_renewal_refused(error)
            return
        await self.send({"type": "auth", "token": self._sign_in.access_token})

    async def close(self) -> None:
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sign_in.close()

    async def _live(self) -> tuple[int, bool]:
        """Lives through one WebSocket; returns its close code, and whether it was authenticated."""
        headers = {"Authorization": f"Bearer {self._sign_in.access_token}"}
        was_ready = False
        self.incarnation += 1
        try:
            # A peer that does not answer pings does not answer a close either.
            async with connect(
                self._url,
                subprotocols=[self._dialect],
                additional_headers=headers,
                max_size=None,
                close_timeout=1,
                **self._life,
            ) as socket:
                self._socket = socket
                self._turn_ids.clear()
                async for text in socket:
                    await self._receive(self._named(json.loads(text)))
                    was_ready = was_ready or self.is_ready
                return socket.close_code or CLOSED_ABNORMALLY, was_ready
        except ConnectionClosed as closed:
            return (closed.rcvd.code if closed.rcvd else CLOSED_ABNORMALLY), was_ready
        except InvalidStatus as refused:
            if refused.response.status_code < 500 and refused.response.status_code != 429:
                raise
            with contextlib.suppress(KeyError, ValueError):
                self._reconnect_after_s = float(refused.response.headers["Retry-After"])
            return TRY_AGAIN_LATER, was_ready
        except (OSError, EOFError, TimeoutError, InvalidMessage):
            return CLOSED_ABNORMALLY, was_ready
        finally:
            self._socket = None
            self.is_ready = False

    def _named(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Adds the ids of its turn to a frame that only has the turn's number on this connection."""
        number = frame.get("turn")
        if number is None:
            return frame
        if "turn_id" not in frame:
            return frame | self._turn_ids.get(number, {})
        if frame["type"] in ("complete", "error"):
            self._turn_ids.pop(number, None)
        else:
            self._turn_ids[number] = {"turn_id": frame["turn_id"], "conversation_id": frame["conversation_id"]}
        return frame

    async def _receive(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "auth_success":
                is_new, self.is_ready, self._has_renewed = not self.is_ready, True, False
                if is_new:
                    self._listener.on_status({"state": "open"})
                await self._listener.on_ready(is_new)
            case "auth_expiring":
                # Not before it is time: a server that announces the end at once would be asked without a pause.
                self.spawn(self.authenticate_again(frame["expires_in"] - self._sign_in.lead_s))
            case "auth_error":
                if self._has_renewed or not self._sign_in.can_renew:
                    error = SwitchboardError({"code": frame["code"], "error": frame["message"]})
                    raise self._sign_in.refusal or error
                self.spawn(self.authenticate_again())
            case "going_away":
                self._reconnect_after_s = frame["reconnect_after_ms"] / 1000
            case _:
                await self._listener.on_frame(frame)

    async def _renew(self) -> None:
        await self._sign_in.renew(self._on_trouble)
        self._has_renewed = True

    def _on_trouble(self, trouble: dict[str, Any]) -> None:
        if self._socket is None:
            self._listener.on_status({"state": "reconnecting", **trouble})
