"""Where the history is in MLflow, and whether it is all there."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from service.api.errors import documented
from service.api.monitoring_schemas import utc
from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.mlflow_links import charts_link, compare_link, experiment_link, run_link
from service.monitoring.tracking import RunKind
from service.state.bridge_statuses import BridgeStatuses
from service.state.outbox import LocatedRun, Outbox

_ERRORS = documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_KINDS = {RunKind.MONITORING, RunKind.EVENT, RunKind.RELEASE}


class TrackedRunBody(BaseModel):
    """A run in MLflow."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    kind: RunKind
    date: str
    run_id: str
    url: str


class BridgeBody(BaseModel):
    """How the writing of the history goes."""

    status_at: Annotated[datetime, Field(description="When the bridge said so.")]
    store: Annotated[str, Field(description="Where the history goes.")]
    lag_seconds: float
    outbox_points: int
    refused_entries: int
    dropped_sample_points: int
    last_success: datetime | None
    completeness: Annotated[
        float | None, Field(description="Of the last closed day's windows; null before one closed.")
    ]
    problem: str | None
    failures: dict[str, int]

    @classmethod
    def of(cls, status: BridgeStatus) -> Self:
        """Map the core's value."""
        return cls(
            status_at=utc(status.at),
            store=status.store,
            lag_seconds=status.lag_seconds,
            outbox_points=status.waiting_points,
            refused_entries=status.refused_entries,
            dropped_sample_points=status.dropped_sample_points,
            last_success=None if status.last_success is None else utc(status.last_success),
            completeness=status.completeness,
            problem=status.problem or None,
            failures=dict(status.failures),
        )


class MlflowBody(BaseModel):
    """Links into MLflow; null where there is nothing to link to yet."""

    experiment_id: str | None
    experiment_url: str | None
    charts_url: str | None
    runs: list[TrackedRunBody]
    compare_url: Annotated[str | None, Field(description="The monitoring runs of this answer.")]
    bridge: Annotated[BridgeBody | None, Field(description="Null where no bridge ever spoke.")]


def mlflow_router(*, statuses: BridgeStatuses, outbox: Outbox, ui_url: str) -> APIRouter:
    """Endpoint under `/monitoring`; it reads the state store and never asks MLflow."""
    router = APIRouter(prefix="/monitoring", tags=["Monitoring"], responses=_ERRORS)

    @router.get("/mlflow")
    def history_in_mlflow(
        model_name: Annotated[
            list[str] | None, Query(description="Only these models; by default all.")
        ] = None,
        days: Annotated[
            int, Query(ge=1, le=7, description="So many UTC days, today included.")
        ] = 2,
    ) -> MlflowBody:
        """Give links to the runs of the last days, and to their comparison."""
        status = statuses.load()
        if status is None or status.experiment_id is None:
            return MlflowBody(
                experiment_id=None,
                experiment_url=None,
                charts_url=None,
                runs=[],
                compare_url=None,
                bridge=None if status is None else BridgeBody.of(status),
            )
        experiment = status.experiment_id
        first_day = (datetime.now(UTC) - timedelta(days=days - 1)).date().isoformat()
        runs = [
            located
            for located in outbox.located_runs(status.tracking_store)
            if located.run.kind in _KINDS
            and located.run.day >= first_day
            and (model_name is None or located.run.model_name in model_name)
        ]
        watched = [run_id for run, run_id in runs if run.kind is RunKind.MONITORING]
        return MlflowBody(
            experiment_id=experiment,
            experiment_url=experiment_link(ui_url, experiment),
            charts_url=charts_link(ui_url, experiment),
            runs=[_run_body(located, ui_url, experiment) for located in runs],
            compare_url=compare_link(ui_url, experiment, watched) if watched else None,
            bridge=BridgeBody.of(status),
        )

    return router


def _run_body(located: LocatedRun, ui_url: str, experiment_id: str) -> TrackedRunBody:
    run, run_id = located
    return TrackedRunBody(
        model_name=run.model_name,
        model_version=run.model_version,
        kind=run.kind,
        date=run.day,
        run_id=run_id,
        url=run_link(ui_url, experiment_id, run_id),
    )
