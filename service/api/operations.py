"""What a scraper and an orchestrator ask: metrics, is the process there, can it serve."""

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.concurrency import run_in_threadpool

from service.api.schemas import EvaluatorStatus, ProcessStatus
from service.prediction.model import Evaluator
from service.telemetry.registry import FolderRegistry


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
        responses={200: {"content": {"text/plain": {}}, "description": "All metrics."}},
    )
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Metrics of all workers in the Prometheus text format."""
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
