"""Lets clients who take an answer of some age share one: twenty open pages cost about as one does.

Only who says so, by the request header `Cache-Control: max-age=5` (RFC 9111, 5.2.1.1), is given an
answer of up to 5 s; it says how old it is. Everybody else's is computed for him, as ever.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PATHS = "/monitoring/"
_MAX_AGE = re.compile(rb"(?:^|[,\s])max-age=([0-9]{1,5})(?:$|[,\s])", re.IGNORECASE)
_MOST_KEPT = 64
"""More models and spans than are looked at at one time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    asked_at: float
    """By the clock; what is being computed is as old as its question."""
    messages: asyncio.Task[list[Message]]


class SharedAnswers:
    """Wraps an application; what is asked for at the same time is computed once."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._kept: dict[tuple[str, bytes], _Shared] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or not scope["path"].startswith(_PATHS)
            or not (accepted := _accepted_age(scope))
        ):
            await self._app(scope, receive, send)
            return
        now = self._clock()
        key = scope["path"], scope["query_string"]
        shared = self._kept.get(key)
        if shared is None or now - shared.asked_at > accepted:
            shared = self._ask(key, scope, now)
        # Who turns away must not take the answer from the others.
        messages = await asyncio.shield(shared.messages)
        age = str(int(max(now - shared.asked_at, 0.0))).encode()
        for message in messages:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"age", age)]
                await send({**message, "headers": headers})
            else:
                await send(message)

    def _ask(self, key: tuple[str, bytes], scope: Scope, now: float) -> _Shared:
        shared = _Shared(now, asyncio.create_task(_answer(self._app, scope)))

        def keep_only_if_good(done: asyncio.Task[list[Message]]) -> None:
            good = not done.cancelled() and done.exception() is None and _succeeded(done.result())
            if not good and self._kept.get(key) is shared:
                del self._kept[key]

        shared.messages.add_done_callback(keep_only_if_good)
        self._kept.pop(key, None)
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = shared
        return shared


async def _answer(app: ASGIApp, scope: Scope) -> list[Message]:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(dict(scope), receive, send)
    return messages


def _accepted_age(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"cache-control" and (match := _MAX_AGE.search(value)):
            return int(match[1])
    return 0


def _succeeded(messages: list[Message]) -> bool:
    return bool(messages) and messages[0].get("status") == HTTPStatus.OK
