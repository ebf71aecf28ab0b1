"""How the models are doing: statistics, health, and the baselines they are held against.

What reads files or the state store runs on threads and leaves the event loop to the predictions.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from service.api.durations import DURATION, DURATION_OR_ALL, window_of
from service.api.errors import documented
from service.api.monitoring_schemas import (
    AllStatisticsBody,
    BaselineBody,
    CaptureBody,
    HealthBody,
    StatisticsBody,
    StoredBaselineBody,
)
from service.api.scopes import ScopeQuery, Scopes
from service.api.write_guard import GUARDED, WriteGuard
from service.monitoring.baseline import Baseline
from service.monitoring.capture import capture
from service.monitoring.statistics import MILLISECONDS
from service.prediction.predictor import UnknownModelError
from service.sources.active_baselines import ActiveBaselines
from service.telemetry.judgements import JudgementGauges

_ERRORS = documented(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)
_WRITE_ERRORS = {
    **documented(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    **GUARDED,
}
_CAPTURE_ERRORS = documented(HTTPStatus.CONFLICT)

EVERYTHING = "all"

ModelPath = Annotated[str, Path(max_length=64)]


def monitoring_router(
    *,
    scopes: Scopes,
    baselines: ActiveBaselines,
    gauges: JudgementGauges,
    history_seconds: float,
    min_predictions: int,
    rehearsal: str,
    guard: WriteGuard,
) -> APIRouter:
    """Endpoints under `/monitoring`."""
    router = APIRouter(prefix="/monitoring", tags=["Monitoring"], responses=_ERRORS)

    def window_seconds(window: str) -> float:
        return window_of(window, longest_seconds=history_seconds)

    async def put_in_force(baseline: Baseline) -> StoredBaselineBody:
        stored = await run_in_threadpool(baselines.save, baseline)
        # On the loop, which alone writes this worker's metrics.
        gauges.show_baseline(stored.baseline)
        gauges.flush()
        return StoredBaselineBody.of(stored)

    @router.get("/health")
    def health(scope: ScopeQuery = None) -> HealthBody:
        """Give the health of the service and of every model."""
        answering = scopes.of(scope)
        return HealthBody.of(answering.monitor.health(), rehearsal, answering.name)

    @router.get("/stats")
    def stats(
        model_name: Annotated[str | None, Query(max_length=64)] = None,
        window: Annotated[
            str,
            Query(
                description="`all`, or a duration such as 90, 300s, 15m, 1h, 7d.",
                json_schema_extra=DURATION_OR_ALL,
            ),
        ] = EVERYTHING,
        scope: ScopeQuery = None,
    ) -> StatisticsBody | AllStatisticsBody:
        """Give the statistics of one model, or of all."""
        seconds = None if window == EVERYTHING else window_seconds(window)
        answering = scopes.of(scope)
        found = {
            statistics.model_name: StatisticsBody.of(statistics, answering.name)
            for statistics in answering.monitor.statistics(seconds)
        }
        if model_name is None:
            return AllStatisticsBody(models=found)
        return found[_known(model_name, found)]

    @router.post("/baseline", responses=_WRITE_ERRORS, dependencies=[Depends(guard)])
    async def set_baseline(request: Request, body: BaselineBody) -> StoredBaselineBody:
        """Set the baseline of a model; it holds for the version that is served now."""
        model = _known(body.model_name, baselines.models)
        baseline = Baseline(
            model_name=model,
            model_version=baselines.models[model],
            mean_prediction=body.mean_prediction,
            std_prediction=body.std_prediction,
            mean_latency_seconds=body.mean_latency_ms / MILLISECONDS,
            std_latency_seconds=body.std_latency_ms / MILLISECONDS,
            observations=body.observations,
            window_std_prediction=body.window_std_prediction,
            window_std_latency_seconds=_seconds_or_none(body.window_std_latency_ms),
            source="request",
            created_at=datetime.now(UTC),
            created_by=_client(request),
            note=body.note,
        )
        return await put_in_force(baseline)

    @router.get("/baseline/{model_name}")
    def get_baseline(model_name: ModelPath) -> StoredBaselineBody:
        """Give the baseline in force."""
        return StoredBaselineBody.of(baselines.of(_known(model_name, baselines.models)))

    @router.post(
        "/baseline/{model_name}/capture",
        responses={**_WRITE_ERRORS, **_CAPTURE_ERRORS},
        dependencies=[Depends(guard)],
    )
    async def capture_baseline(
        request: Request,
        model_name: ModelPath,
        window: Annotated[
            str, Query(description="How far back, such as 1h or 7d.", json_schema_extra=DURATION)
        ],
        body: Annotated[CaptureBody | None, Body()] = None,
        scope: ScopeQuery = None,
    ) -> StoredBaselineBody:
        """Take the baseline from the traffic of a window that ends now."""
        model = _known(model_name, baselines.models)
        if rehearsal:
            raise HTTPException(
                HTTPStatus.CONFLICT, f"faults are being injected ({rehearsal}): not a reference"
            )
        source = scopes.of(scope).source
        windows = await run_in_threadpool(source.hourly_windows, window_seconds(window))
        # On a thread: a week of minutes takes seconds to read.
        baseline = await run_in_threadpool(
            capture,
            model,
            baselines.models[model],
            windows,
            ticks=source.tick_windows(window_seconds(window)),
            min_predictions=min_predictions,
            created_at=datetime.now(UTC),
            created_by=_client(request),
            note=body.note if body else "",
        )
        return await put_in_force(baseline)

    return router


def _known(model: str, models: Mapping[str, object]) -> str:
    if model not in models:
        raise UnknownModelError(f"there is no model {model!r}; there are {', '.join(models)}")
    return model


def _seconds_or_none(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / MILLISECONDS


def _client(request: Request) -> str:
    return request.client.host if request.client else "unknown"
