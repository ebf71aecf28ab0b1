"""Bodies of the endpoint that tells statistics over time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from service.api.monitoring_schemas import utc
from service.api.scopes import ScopeBody, ScopeName, staleness
from service.monitoring.over_time import Step
from service.monitoring.snapshot import Snapshot


class StepBody(BaseModel):
    """One step; every number is as in `/monitoring/stats`, and null where it is not known."""

    model_config = ConfigDict(from_attributes=True)

    window_start: Annotated[datetime, Field(description="When its first reading was taken.")]
    window_end: datetime
    total_requests: int | None = None
    error_count: int | None = None
    error_rate: Annotated[float | None, Field(description="Percent of the requests.")] = None
    requests_per_minute: Annotated[float | None, Field(description="Over the step.")] = None
    avg_latency_ms: float | None = None
    p50_latency_ms: float | None = None
    p95_latency_ms: float | None = None
    p99_latency_ms: float | None = None
    total_predictions: int | None = None
    mean_prediction: float | None = None
    std_prediction: float | None = None

    @classmethod
    def of(cls, step: Step, model: str) -> Self:
        """Map the core's value."""
        found = step.models.get(model)
        if found is None:
            return cls(window_start=utc(step.start), window_end=utc(step.end))
        return cls.model_validate(found)


class ModelHistoryBody(BaseModel):
    """The steps of one model, oldest first and adjacent."""

    points: list[StepBody]


class HistoryBody(ScopeBody):
    """Statistics over time, exact for each step."""

    step_seconds: Annotated[
        int, Field(description="Steps begin at multiples of it; the last one goes on.")
    ]
    window_start: datetime
    window_end: datetime
    models: dict[str, ModelHistoryBody]

    @classmethod
    def of(
        cls,
        steps: Sequence[Step],
        *,
        models: Sequence[str],
        step_seconds: int,
        newest: Snapshot,
        scope: ScopeName,
    ) -> Self:
        """Map the core's values."""
        return cls(
            step_seconds=step_seconds,
            window_start=utc(steps[0].start),
            window_end=utc(newest.at),
            models={
                model: ModelHistoryBody(points=[StepBody.of(step, model) for step in steps])
                for model in models
            },
            scope=scope,
            replicas_seen=newest.instances,
            staleness_seconds=staleness(newest.at),
        )
