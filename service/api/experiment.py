"""Which variant of the A/B test is better, and is it known yet?"""

from http import HTTPStatus

from fastapi import APIRouter

from service.api.errors import documented
from service.api.experiment_schemas import ExperimentBody
from service.api.scopes import ScopeQuery, Scopes

_ERRORS = documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


def experiment_router(scopes: Scopes) -> APIRouter:
    """Endpoint `/monitoring/experiment`."""
    router = APIRouter(prefix="/monitoring", tags=["Monitoring"], responses=_ERRORS)

    @router.get("/experiment")
    def experiment(scope: ScopeQuery = None) -> ExperimentBody:
        """Compare the variants of the A/B test; what it says holds at every look.

        Counted are predictions old enough that no click comes in any more.
        """
        answering, watches = scopes.judged(scope)
        return ExperimentBody.of(watches.experiment.sight(), answering.name)

    return router
