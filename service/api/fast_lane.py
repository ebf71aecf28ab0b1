"""The fast lane: plain, valid predictions pass FastAPI's routing by.

FastAPI's route costs more than the prediction. A request that is all usual (no query, a valid body)
is read by the rules of the documented endpoint (quick_bodies.py), answered by the same predictor
and rendered by the same function, without dependencies being resolved and a response being built.
Whatever is not usual, every invalid body included, goes on to the documented endpoint as if
this middleware were not there; so errors, their metrics and the OpenAPI document have one source.

How much it saves, and what else was tried: docs/performance.md.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.answers import JSON, rendered_batch, rendered_one
from service.api.body_gate import BATCH_PATH, PREDICT_PATH, arrived_body
from service.api.errors import defect, model_failed
from service.api.quick_bodies import UNUSUAL, read_batch, read_one
from service.prediction.ad_request import AdRequest
from service.prediction.predictor import Predictor
from service.prediction.turn import ModelFailedError, Render
from service.request_id import handle

_CONTENT_TYPE = (b"content-type", JSON.encode())


class _Lane(NamedTuple):
    """How one endpoint reads bodies and writes answers."""

    read: Callable[[bytes], Sequence[AdRequest]]
    render: Render


_LANES: Mapping[str, _Lane] = {
    PREDICT_PATH: _Lane(read_one, rendered_one),
    BATCH_PATH: _Lane(read_batch, rendered_batch),
}


class FastLane:
    """What stands between the body gate and FastAPI, and answers what is usual."""

    def __init__(self, app: ASGIApp, *, predictor: Predictor) -> None:
        self._app = app
        self._predictor = predictor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        lane = _LANES.get(scope["path"]) if scope["type"] == "http" else None
        if lane is None or scope["method"] != "POST" or scope["query_string"]:
            await self._pass_on(scope, receive, send)
            return
        body = arrived_body(scope)
        try:
            requests = lane.read(body.content)
        except UNUSUAL:
            await self._pass_on(scope, receive, send)
            return
        try:
            answer = await self._predictor.answer(
                requests, model_name=None, arrived=body.at, render=lane.render, request=scope
            )
        except ModelFailedError as failure:
            handle(scope)
            await model_failed(failure)(scope, receive, send)
            return
        except Exception:
            handle(scope)
            await defect()(scope, receive, send)
            raise
        length = (b"content-length", b"%d" % len(answer))
        headers = [length, _CONTENT_TYPE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        handle(scope)
        await self._app(scope, receive, send)
