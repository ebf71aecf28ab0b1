"""How good are a model's predictions, now that it is known what was clicked?"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from service.api.durations import DURATION, window_of
from service.api.errors import documented
from service.api.quality_schemas import QualityBody
from service.api.scopes import ScopeQuery, Scopes
from service.monitoring.counts import ModelVersion
from service.prediction.predictor import UnknownModelError
from service.sources.active_baselines import ActiveBaselines

_ERRORS = documented(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)


def quality_router(
    scopes: Scopes, baselines: ActiveBaselines, *, longest_seconds: float
) -> APIRouter:
    """Endpoint under `/monitoring`; windows are at most ``longest_seconds`` long."""
    router = APIRouter(prefix="/monitoring", tags=["Monitoring"], responses=_ERRORS)

    @router.get("/quality/{model_name}")
    def quality_of(
        model_name: Annotated[str, Path(max_length=64)],
        window: Annotated[
            str | None,
            Query(
                description="How long a span of predictions, such as 6h or 3d; by default a day. "
                "It ends an attribution window ago.",
                json_schema_extra=DURATION,
            ),
        ] = None,
        version: Annotated[
            str | None, Query(max_length=64, description="By default the one that is served.")
        ] = None,
        scope: ScopeQuery = None,
    ) -> QualityBody:
        """Judge predictions by their clicks, once no more can come."""
        served = baselines.models
        if model_name not in served:
            raise UnknownModelError(
                f"there is no model {model_name!r}; there are {', '.join(served)}"
            )
        seconds = None if window is None else window_of(window, longest_seconds=longest_seconds)
        model = ModelVersion(model_name, version or served[model_name])
        answering = scopes.of(scope)
        newest = answering.source.snapshot()
        report = answering.quality.report(model, newest.at, window_seconds=seconds)
        if model.version != served[model_name] and not report.any_predictions:
            raise UnknownModelError(
                f"version {model.version!r} of {model_name} predicted nothing in this window; "
                f"served is {served[model_name]}"
            )
        return QualityBody.of(report, answering.name, newest)

    return router
