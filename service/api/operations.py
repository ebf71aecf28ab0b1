"""What a scraper and an orchestrator ask: metrics, is the process there, can it serve."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from service.api.errors import documented
from service.api.schemas import EvaluatorStatus, ProcessStatus
from service.prediction.model import Evaluator
from service.telemetry.registry import FolderRegistry

_FORMATS: dict[str, dict[str, str]] = {"text/plain": {}, "application/openmetrics-text": {}}
"""Whichever the scraper asks for."""


def operations_router(
    registry: FolderRegistry,
    versions: Callable[[], Mapping[str, str]],
    evaluators: Callable[[], Mapping[str, Evaluator]],
) -> APIRouter:
    """Endpoints over ``registry``, and ``versions`` and ``evaluators`` of the served models."""
    router = APIRouter(tags=["Operations"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {"content": _FORMATS, "description": "All metrics."},
            **documented(HTTPStatus.SERVICE_UNAVAILABLE),
        },
    )
    async def metrics(request: Request) -> Response:
        """Metrics of all workers in the Prometheus text format."""
        # No parameter: FastAPI would document 422 for it, which no header is answered by.
        accept = request.headers.get("accept", "")
        content, content_type = await run_in_threadpool(registry.exposition, accept)
        return Response(content, headers={"content-type": content_type})

    @router.get("/healthz", response_model_exclude_none=True)
    async def healthz() -> ProcessStatus:
        """Tell that the process answers; says nothing about the models."""
        return ProcessStatus(status="alive")

    @router.get("/readyz")
    async def readyz() -> ProcessStatus:
        """Tell that the models are loaded; the server listens only once they are."""
        scored_by = {
            model: EvaluatorStatus(name=one.name, fallback_reason=one.fallback_reason)
            for model, one in evaluators().items()
        }
        return ProcessStatus(status="ready", models=dict(versions()), evaluators=scored_by)

    return router
