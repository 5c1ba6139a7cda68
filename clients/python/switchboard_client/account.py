"""Accounts, their tokens, and requests to the REST API."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

MAX_WAIT_S = 30.0
TIMEOUT_S = 30.0


class SwitchboardError(Exception):
    """An error from the server. `code` is a row of the error table, or a close code."""

    def __init__(self, frame: dict[str, Any]) -> None:
        super().__init__(f"{frame['code']}: {frame['error']}")
        self.code = frame["code"]
        self.retryable = frame.get("retryable", False)
        self.retry_after_ms = frame.get("retry_after_ms")
        self.correlation_id = frame.get("correlation_id")


def backoff_s(attempt: int) -> float:
    """Exponential backoff with jitter, so that clients do not come back all at once."""
    return min(MAX_WAIT_S, 0.5 * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)


def _post(base: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        base.rstrip("/") + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        try:
            frame = json.loads(error.read())
            if not isinstance(frame, dict) or "code" not in frame:
                raise ValueError("not an answer of the server")
        except ValueError:
            reason = (
                f"the server answered {error.code} without saying why; a proxy in front of it may have answered instead"
            )
            frame = {"code": f"HTTP_{error.code}", "error": reason}
        frame.setdefault("retryable", error.code >= 500 or error.code in (408, 425, 429))
        raise SwitchboardError(frame) from None


async def register(base: str, name: str, email: str, password: str) -> dict[str, Any]:
    """Creates an account; returns access_token, refresh_token, expires_in and user."""
    body = {"name": name, "email": email, "password": password}
    return await asyncio.to_thread(_post, base, "/api/v1/auth/register", body)


async def login(base: str, email: str, password: str) -> dict[str, Any]:
    """Signs in; returns the same as `register`."""
    return await asyncio.to_thread(_post, base, "/api/v1/auth/login", {"email": email, "password": password})


class SignIn:
    """The tokens of one sign-in, and their renewal."""

    def __init__(self, base: str, account: dict[str, Any]) -> None:
        self._base = base
        self._account = account
        self._renewal: asyncio.Task[None] | None = None
        # The error with which the server refused to renew the tokens.
        self.refusal: SwitchboardError | None = None

    @property
    def access_token(self) -> str:
        return self._account["access_token"]

    @property
    def can_renew(self) -> bool:
        return bool(self._account.get("refresh_token")) and self.refusal is None

    @property
    def lead_s(self) -> float:
        """Time before the end of an access token at which it is renewed: min(60 s, a quarter of its life), as the server announces."""
        return min(60.0, self._account.get("expires_in", 240) / 4)

    def renew(self, on_trouble: Callable[[dict[str, Any]], None]) -> asyncio.Task[None]:
        """Gets a new access token; concurrent calls share one renewal. `on_trouble` is called with each failed attempt."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_patiently(on_trouble))
        return self._renewal

    async def close(self) -> None:
        """Stops renewing."""
        if self._renewal:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renew_patiently(self, on_trouble: Callable[[dict[str, Any]], None]) -> None:
        """While the server or the network is in trouble, it is tried again: only a refusal, such as 401, ends the sign-in."""
        body = {"refresh_token": self._account["refresh_token"]}
        attempt = 0
        while True:
            error: Exception
            try:
                self._account = await asyncio.to_thread(_post, self._base, "/api/v1/auth/refresh", body)
                return
            except SwitchboardError as refused:
                # The page of a proxy is no refusal.
                if not refused.retryable and not str(refused.code).startswith("HTTP_"):
                    self.refusal = refused
                    raise
                error, wait_s = refused, max((refused.retry_after_ms or 0) / 1000, backoff_s(attempt))
            except (OSError, ValueError) as trouble:
                error, wait_s = trouble, backoff_s(attempt)
            attempt += 1
            on_trouble({"attempt": attempt, "delay_s": wait_s, "error": error})
            await asyncio.sleep(wait_s)
