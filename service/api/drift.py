"""Has a model drifted from its baseline, and how did that come about?"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from service.api.drift_schemas import DriftHistoryBody, DriftReportBody
from service.api.durations import DURATION, window_of
from service.api.errors import documented
from service.api.scopes import ScopeQuery, Scopes
from service.monitoring.drift.sample import thinned
from service.prediction.predictor import UnknownModelError
from service.sources.active_baselines import ActiveBaselines

_ERRORS = documented(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)


ModelPath = Annotated[str, Path(max_length=64)]


def drift_router(
    scopes: Scopes, baselines: ActiveBaselines, *, history_seconds: float
) -> APIRouter:
    """Endpoints under `/monitoring/drift`."""
    router = APIRouter(prefix="/monitoring/drift", tags=["Monitoring"], responses=_ERRORS)

    def known(model: str) -> str:
        models = baselines.models
        if model not in models:
            raise UnknownModelError(f"there is no model {model!r}; there are {', '.join(models)}")
        return model

    @router.get("/{model_name}")
    def drift_of(model_name: ModelPath, scope: ScopeQuery = None) -> DriftReportBody:
        """Tell whether the model has drifted from its baseline, with what evidence, since when."""
        answering, watches = scopes.judged(scope)
        report = watches.drift.report(known(model_name))
        asked = watches.features.report(model_name, report.window.end)
        return DriftReportBody.of(report, answering.name, asked.features)

    @router.get("/{model_name}/history")
    def history_of(
        model_name: ModelPath,
        window: Annotated[
            str,
            Query(
                description="A duration such as 90, 300s, 15m, 1h, 7d.",
                json_schema_extra=DURATION,
            ),
        ] = "1h",
        points: Annotated[
            int, Query(ge=1, le=2000, description="At most so many; peaks of evidence stay.")
        ] = 500,
        scope: ScopeQuery = None,
    ) -> DriftHistoryBody:
        """Give evidence and effect sizes over time."""
        _, watches = scopes.judged(scope)
        seconds = window_of(window, longest_seconds=history_seconds)
        samples = watches.drift.samples(known(model_name), seconds)
        return DriftHistoryBody.of(model_name, thinned(samples, points))

    return router
