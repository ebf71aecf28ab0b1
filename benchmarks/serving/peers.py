"""What the service is measured beside, each served with the settings of our own launcher.

``python -m benchmarks.serving.peers NAME MODELS`` says its address and serves until stopped.

- ``hello``: FastAPI's first example, GET, ``async def``, a fixed dict.
- ``raw``: an ASGI application without a framework, which reads a POST and answers fixed JSON.
- ``typical``: what most people write around such a model: FastAPI, a pydantic body and answer,
  prometheus-fastapi-instrumentator, ``async def``, ``Booster.inplace_predict``; the same model and
  features, and no monitoring of predictions, no A/B test, no signed ids.
"""

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.serving.subject import load_booster, load_encoder
from service.prediction.ad_request import AdRequest

_FIXED = b'{"predicted_ctr":0.0231,"model_name":"fixed","model_version":"1","latency_ms":0.1}'
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_FIXED)).encode()),
]


class Ad(BaseModel):
    """Body of the typical service."""

    user_id: str
    ad_id: str
    device: str
    placement: str
    hour: int
    day_of_week: int


class Answer(BaseModel):
    """Answer of the typical service."""

    predicted_ctr: float


def main() -> None:
    """Serve one of them until stopped."""
    name, models_dir = sys.argv[1], Path(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        _app(name, models_dir), access_log=False, log_level="warning", proxy_headers=False
    )
    print(f"{name} at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def _app(name: str, models_dir: Path) -> ASGIApp:
    if name == "raw":
        return _raw
    return _hello() if name == "hello" else _typical(models_dir)


def _hello() -> FastAPI:
    app = FastAPI()

    # As in FastAPI's documentation, where the answer has no declared type.
    @app.get("/", response_model=None)
    async def root() -> dict[str, str]:
        return {"message": "Hello World"}

    return app


async def _raw(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _FIXED})


def _typical(models_dir: Path) -> FastAPI:
    from prometheus_fastapi_instrumentator import (  # noqa: PLC0415 - the others do without
        Instrumentator,
    )

    booster, encoder = load_booster(models_dir), load_encoder(models_dir)
    app = FastAPI()
    Instrumentator().instrument(app).expose(app)

    @app.post("/predict_ctr")
    async def predict_ctr(ad: Ad) -> Answer:
        request = AdRequest(ad.user_id, ad.ad_id, ad.device, ad.placement, ad.hour, ad.day_of_week)
        scores = booster.inplace_predict(encoder.encode([request]), validate_features=False)
        return Answer(predicted_ctr=float(scores[0]))

    return app


if __name__ == "__main__":
    main()
