"""Names each request in its answer: `X-Request-ID`, the client's own where it is a short token.

A plain prediction has its `prediction_id`, and no second name unless the client gave one, which
would cost as much again as looking for the client's (docs/performance.md). Its errors have one.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.body_gate import BATCH_PATH, PREDICT_PATH
from service.request_id import HEADER, accepted, current_request_id, handle

_NAMED_BY_PREDICTION = frozenset({PREDICT_PATH, BATCH_PATH})


class RequestIds:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request; no coroutine, as each step of the application would go through it."""
        if scope["type"] == "http":
            given = None
            for name, value in scope["headers"]:
                if name == HEADER:
                    given = accepted(value)
            # To note whose task this is costs half a microsecond: not for a plain prediction.
            if given is not None or scope["path"] not in _NAMED_BY_PREDICTION:
                handle(scope, given)
                send = _naming(send)
        return self._app(scope, receive, send)


def _naming(send: Send) -> Send:
    """Add the name of the request that is being handled to its answer."""
    own = (HEADER, (current_request_id() or "").encode())

    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [header for header in message["headers"] if header[0] != HEADER]
            message = {**message, "headers": [*others, own]}
        await send(message)

    return send_named
