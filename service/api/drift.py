"""Has a model drifted from its baseline?"""

from http import HTTPStatus

from fastapi import APIRouter

from service.api.drift_schemas import DriftReportBody
from service.api.errors import documented
from service.prediction.predictor import UnknownModelError
from service.sources.active_baselines import ActiveBaselines
from service.sources.drift_watch import DriftWatch

_ERRORS = documented(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)


def drift_router(drift: DriftWatch, baselines: ActiveBaselines) -> APIRouter:
    """Endpoint under `/monitoring`."""
    router = APIRouter(prefix="/monitoring", tags=["Monitoring"], responses=_ERRORS)

    @router.get("/drift/{model_name}")
    def drift_of(model_name: str) -> DriftReportBody:
        """Tell whether the model has drifted from its baseline, with what evidence, since when."""
        models = baselines.models
        if model_name not in models:
            raise UnknownModelError(
                f"there is no model {model_name!r}; there are {', '.join(models)}"
            )
        return DriftReportBody.of(drift.report(model_name))

    return router
