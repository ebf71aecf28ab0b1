"""Keeps what is being answered at one time within bounds, and what is asked for readable.

More requests at once than a turn of the event loop has use for only make each other wait: who comes
on top of them is told to come again, so that those before it are answered in time.

To refuse costs a worker as much as to answer. Clients that come again at once would have it do
little else (docs/reliability.md has figures), so refusals leave one after the other: a few at once,
many in the order in which they came. Who waits for one on a connection sends no other request.
"""

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import problem
from service.http_protocol import ALWAYS_ANSWERED
from service.monitoring.catalogue import Rejection
from service.request_id import handle
from service.telemetry.recorder import Recorder

_MAX_URL_BYTES = 8192
_RETRY_SECONDS = 1
_SECONDS_BETWEEN_REFUSALS = 0.004
"""So they take some hundredths of a worker's time."""


class Admission:
    """Middleware that refuses requests over a number, and addresses that nobody would write."""

    def __init__(self, app: ASGIApp, *, recorder: Recorder, most_at_once: int) -> None:
        self._app = app
        self._recorder = recorder
        self._most = most_at_once
        self._answering = 0
        self._next_refusal = 0.0
        """When one may leave, by the clock of the event loop."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if len(scope["raw_path"]) + len(scope["query_string"]) > _MAX_URL_BYTES:
            handle(scope)
            self._recorder.rejected(Rejection.URL_TOO_LONG)
            detail = f"the address has more than {_MAX_URL_BYTES} bytes"
            await problem(HTTPStatus.REQUEST_URI_TOO_LONG, detail)(scope, receive, send)
            return
        if self._answering >= self._most and scope["path"] not in ALWAYS_ANSWERED:
            await self._refuse(scope, receive, send)
            return
        self._answering += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._answering -= 1

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        now = asyncio.get_running_loop().time()
        # Nobody waits for longer than it is told to stay away. Those who have given up meanwhile
        # keep their place, and must not make others wait for it.
        leaves = min(max(self._next_refusal, now), now + _RETRY_SECONDS)
        self._next_refusal = leaves + _SECONDS_BETWEEN_REFUSALS
        if leaves > now:
            await asyncio.sleep(leaves - now)
        handle(scope)
        self._recorder.rejected(Rejection.OVERLOADED)
        await problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{self._most} requests are being answered; ask again in a moment",
            headers={"Retry-After": str(_RETRY_SECONDS)},
        )(scope, receive, send)
