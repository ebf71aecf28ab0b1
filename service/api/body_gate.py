"""Takes in each request's body: bounded in size, of the right type, stamped when it had arrived."""

import time
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import problem
from service.monitoring.catalogue import Rejection
from service.request_id import handle
from service.telemetry.recorder import Recorder

PREDICT_PATH = "/predict_ctr"
BATCH_PATH = "/predict_ctr/batch"
FEEDBACK_PATH = "/feedback"
_BATCH_PATHS = {BATCH_PATH, FEEDBACK_PATH}
_MAX_BODY_BYTES = 64 * 1024
"""Of anything but a batch."""
_MAX_DISCARDED_BYTES = 64 * 1024 * 1024


_ARRIVED = "ctr.body"
"""Key of the request's scope under which what arrived is kept."""


class ArrivedBody(NamedTuple):
    """A complete body."""

    content: bytes
    at: float
    """``time.perf_counter()`` when its last byte was there."""


def arrived_body(scope: Scope) -> ArrivedBody:
    """Give the body of a request that has passed the gate."""
    body: ArrivedBody = scope[_ARRIVED]
    return body


class BodyGate:
    """Middleware that hands on a complete body or refuses the request.

    A body over the limit is read to its end but not kept, so that the client gets to see why it
    was refused; one that goes on for ever is cut off.
    """

    def __init__(self, app: ASGIApp, *, recorder: Recorder, max_batch_bytes: int) -> None:
        self._app = app
        self._recorder = recorder
        self._max_batch_bytes = max_batch_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] not in {"POST", "PUT", "PATCH"}:
            await self._app(scope, receive, send)
            return
        limit = self._max_batch_bytes if scope["path"] in _BATCH_PATHS else _MAX_BODY_BYTES
        kept: list[bytes] = []
        size = 0
        more = True
        while more and size <= _MAX_DISCARDED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(chunk)
            if size <= limit:
                kept.append(chunk)
        body = b"".join(kept)
        scope[_ARRIVED] = ArrivedBody(body, time.perf_counter())
        if size > limit:
            handle(scope)
            self._recorder.rejected(Rejection.BODY_TOO_LARGE)
            detail = f"the body has more than {limit} bytes; send smaller batches"
            # Who is still sending is not listened to any longer.
            headers = {"Connection": "close"} if more else None
            response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, headers=headers)
            await response(scope, receive, send)
        elif size and not _is_json(scope):
            handle(scope)
            self._recorder.rejected(Rejection.UNSUPPORTED_MEDIA_TYPE)
            detail = "send JSON with the header Content-Type: application/json"
            response = problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
            await response(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)


def _is_json(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_type: bytes = value.partition(b";")[0].strip().lower()
            return media_type == b"application/json"
    return False


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
