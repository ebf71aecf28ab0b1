"""Bodies of predictions, on the fast lane and off it.

Law: a body that the fast lane takes is taken by the documented endpoint too, as the same ad
requests; any other is answered by the documented endpoint, which takes it or says in a problem
with status 422 what is wrong.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message

from fuzz.damage import Choices, damaged
from service.api.body_gate import BATCH_PATH, PREDICT_PATH, BodyGate
from service.api.documented_api import DocumentedApi
from service.api.errors import PROBLEM_TYPE, install_error_handlers
from service.api.fast_lane import FastLane
from service.api.predict import predict_router
from service.prediction.ad_request import AdRequest
from service.prediction.turn import Render

_OFF_THE_LANE = b"off=the-lane"
_AD = AdRequest("user_1", "ad_2", "mobile", "header", 14, 0)._asdict()
_ONE = json.dumps(_AD).encode()
_BATCH = json.dumps({"requests": [_AD, {**_AD, "user_id": "ü\ud83d\ude00"}]}).encode()
_PATHS = (PREDICT_PATH, BATCH_PATH)


class _Echo:
    """Stands where the predictor is: its answer is what it was asked."""

    async def answer(
        self,
        requests: Sequence[AdRequest],
        *,
        model_name: str | None,  # noqa: ARG002 - as the predictor is called
        arrived: float,  # noqa: ARG002
        render: Render,  # noqa: ARG002
        request: object = None,  # noqa: ARG002
    ) -> bytes:
        return repr([tuple(one) for one in requests]).encode()


class _Uncounted:
    """Stands where the recorder is."""

    def rejected(self, reason: str) -> None:
        pass


def _app() -> ASGIApp:
    echo: Any = _Echo()
    recorder: Any = _Uncounted()
    app = DocumentedApi()
    install_error_handlers(app, recorder)
    app.include_router(predict_router(echo))
    return BodyGate(FastLane(app, predictor=echo), recorder=recorder, max_batch_bytes=1 << 20)


_APP = _app()
_LOOP = asyncio.new_event_loop()


def seeds() -> list[bytes]:
    """Valid bodies, and such as readers of JSON differ about."""
    disputed = [
        b'{"user_id":"a","user_id":"b"' + _ONE[20:],
        _ONE.replace(b"14", b"14.0"),
        _ONE.replace(b"14", b"1e1"),
        _ONE.replace(b"14", b"-0"),
        _ONE.replace(b"14", b"NaN"),
        _ONE.replace(b"user_1", b"\\ud800"),
        _ONE.replace(b"user_1", b"\xff"),
        _ONE.replace(b"user_1", b"\\u0000"),
        b"\xef\xbb\xbf" + _ONE,
        _ONE + b"\x00",
        _ONE.decode().encode("utf-16"),
        b"[" * 2000,
        b"",
    ]
    return [
        *(b"\x00" + body for body in (_ONE, *disputed)),
        *(b"\x01" + body for body in (_BATCH, b'{"requests":[]}')),
        *(bytes([2 + at % 2, 1, 1, at, 7, at]) for at in range(8)),
    ]


def check(data: bytes) -> None:
    """Ask both ways; the first byte says for what, and whether to damage a valid body."""
    choices = Choices(data)
    which = choices.below(4)
    path = _PATHS[which % 2]
    body = choices.rest if which < len(_PATHS) else damaged((_ONE, _BATCH)[which % 2], choices)
    usual, documented = _answer(path, body, b""), _answer(path, body, _OFF_THE_LANE)
    assert usual == documented, (usual, documented)
    status, content_type, content = documented
    if status != 200:
        assert (status, content_type) == (422, PROBLEM_TYPE), documented
        assert json.loads(content)["errors"], documented


def _answer(path: str, body: bytes, query: bytes) -> tuple[int, str, bytes]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"content-type", b"application/json")],
        # The same on both ways, where it is in the answer.
        "ctr.request_id": "0" * 16,
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    _LOOP.run_until_complete(_APP(scope, receive, send))
    start, *rest = sent
    content = b"".join(message["body"] for message in rest)
    return start["status"], dict(start["headers"]).get(b"content-type", b"").decode(), content
