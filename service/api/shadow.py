"""How the models do that score without answering."""

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from service.api.durations import DURATION_OR_ALL, window_of
from service.api.errors import documented
from service.api.monitoring_schemas import utc
from service.api.scopes import ScopeBody, ScopeQuery, Scopes, staleness
from service.monitoring.shadow import ShadowStatistics, shadow_statistics
from service.monitoring.statistics import PERCENT
from service.monitoring.window import since_counters_began

_ERRORS = documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_EVERYTHING = "all"


class ShadowModelBody(BaseModel):
    """What one version scored; null where there is nothing to say it of."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    share: Annotated[
        float | None,
        Field(description="Of the assigned ad requests, now; null for one that scores no more."),
    ]
    predictions: int
    errors: int
    error_rate: Annotated[float | None, Field(description="Percent.")]
    mean_prediction: float | None
    std_prediction: float | None
    mean_answered: Annotated[
        float | None, Field(description="Of what was answered to the same ad requests.")
    ]
    mean_difference: Annotated[
        float | None, Field(description="Mean of shadow prediction minus answer.")
    ]
    std_difference: float | None
    mean_difference_interval: Annotated[
        tuple[float, float] | None,
        Field(description="95 % confidence, for one look; null below 100 predictions."),
    ]

    @classmethod
    def of(cls, found: ShadowStatistics, share: float | None) -> Self:
        """Map the core's value."""
        ratio = found.error_ratio
        return cls(
            model_name=found.model.model,
            model_version=found.model.version,
            share=share,
            predictions=found.predictions,
            errors=found.errors,
            error_rate=None if ratio is None else ratio * PERCENT,
            mean_prediction=found.mean_prediction,
            std_prediction=found.std_prediction,
            mean_answered=found.mean_answered,
            mean_difference=found.mean_difference,
            std_difference=found.std_difference,
            mean_difference_interval=found.mean_difference_interval,
        )


class ShadowBody(ScopeBody):
    """Every version that has scored in the shadow since the counters began."""

    window_start: datetime
    window_end: datetime
    models: list[ShadowModelBody]


def shadow_router(
    scopes: Scopes,
    *,
    shares: Callable[[], Mapping[tuple[str, str], float]],
    history_seconds: float,
) -> APIRouter:
    """Endpoint under `/monitoring`; ``shares`` are those of now, by model and version."""
    router = APIRouter(prefix="/monitoring", tags=["Monitoring"], responses=_ERRORS)

    @router.get("/shadow")
    def shadow(
        window: Annotated[
            str,
            Query(
                description="`all`, or a duration such as 90, 300s, 15m, 1h, 7d.",
                json_schema_extra=DURATION_OR_ALL,
            ),
        ] = _EVERYTHING,
        scope: ScopeQuery = None,
    ) -> ShadowBody:
        """Tell what shadow models would have answered, and how far that is from the answers."""
        answering = scopes.of(scope)
        now = answering.source.snapshot()
        if window == _EVERYTHING:
            seen = since_counters_began(now)
        else:
            seconds = window_of(window, longest_seconds=history_seconds)
            seen = answering.source.window(seconds, until=now)
        current = shares()
        return ShadowBody(
            scope=answering.name,
            replicas_seen=seen.instances,
            staleness_seconds=staleness(seen.end),
            window_start=utc(seen.start),
            window_end=utc(seen.end),
            models=[
                ShadowModelBody.of(found, current.get(found.model))
                for found in shadow_statistics(seen)
            ],
        )

    return router
