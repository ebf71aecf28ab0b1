"""How the models have been doing over time."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from service.api.durations import DURATION, window_of
from service.api.errors import documented
from service.api.history_schemas import HistoryBody
from service.api.scopes import ScopeQuery, Scopes
from service.monitoring.over_time import boundaries, step_seconds, steps
from service.prediction.predictor import UnknownModelError
from service.sources.active_baselines import ActiveBaselines
from service.sources.errors import SourceUnavailableError

_ERRORS = documented(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)


def history_router(
    scopes: Scopes, baselines: ActiveBaselines, *, history_seconds: float
) -> APIRouter:
    """Endpoint `/monitoring/history`."""
    router = APIRouter(prefix="/monitoring", tags=["Monitoring"], responses=_ERRORS)

    @router.get("/history")
    def history(
        model_name: Annotated[
            str | None, Query(max_length=64, description="By default all models.")
        ] = None,
        window: Annotated[
            str,
            Query(
                description="A duration such as 90, 300s, 15m, 1h, 7d.",
                json_schema_extra=DURATION,
            ),
        ] = "1h",
        points: Annotated[
            int, Query(ge=1, le=500, description="At most so many steps, of a usual length.")
        ] = 60,
        scope: ScopeQuery = None,
    ) -> HistoryBody:
        """Give what `stats` has for each step of a span that ends with the newest snapshot."""
        seconds = window_of(window, longest_seconds=history_seconds)
        known = baselines.models
        if model_name is not None and model_name not in known:
            raise UnknownModelError(
                f"there is no model {model_name!r}; there are {', '.join(known)}"
            )
        answering = scopes.of(scope)
        newest = answering.source.newest()
        if newest is None:
            raise SourceUnavailableError("the history has no snapshot yet; ask again in a minute")
        step = step_seconds(seconds, points, interval_seconds=answering.interval_seconds)
        starts = boundaries(seconds, step, until=newest.at)
        windows = answering.source.adjacent(starts, until=newest.at)
        return HistoryBody.of(
            steps(starts, windows, until=newest.at),
            models=list(known) if model_name is None else [model_name],
            step_seconds=step,
            newest=newest,
            scope=answering.name,
        )

    return router
