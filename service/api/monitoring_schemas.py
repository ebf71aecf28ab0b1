"""Bodies of the monitoring endpoints."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.api.scopes import ScopeBody, ScopeName, staleness
from service.monitoring.baseline import HourlyDistribution
from service.monitoring.health import Check, CheckStatus, HealthStatus, ModelHealth
from service.monitoring.monitor import HealthReport
from service.monitoring.statistics import MILLISECONDS, PERCENT, ModelStatistics
from service.state.baselines import BaselineRevision

Positive = Annotated[float, Field(strict=True, ge=1e-6, le=1e9, allow_inf_nan=False)]
Spread = Annotated[float, Field(strict=True, ge=0, le=1e9, allow_inf_nan=False)]


def utc(seconds: float) -> datetime:
    """Convert Unix seconds to an aware time."""
    return datetime.fromtimestamp(seconds, tz=UTC)


class StatisticsBody(ScopeBody):
    """Statistics of one model; null stands for "there is no such number"."""

    model_name: str
    total_requests: int
    successful_requests: int
    error_count: int
    avg_latency_ms: float | None
    std_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    min_latency_ms: Annotated[
        float | None, Field(description="Since the counters began; null over a shorter window.")
    ]
    max_latency_ms: float | None
    requests_per_minute: Annotated[float, Field(description="Over the last minute.")]
    error_rate: Annotated[float | None, Field(description="Percent of the requests.")]
    total_predictions: int
    mean_prediction: float | None
    std_prediction: float | None
    window_start: datetime
    window_end: datetime
    last_updated: datetime

    @classmethod
    def of(cls, statistics: ModelStatistics, scope: ScopeName) -> Self:
        """Map the core's value."""
        fields = {
            name: getattr(statistics, name)
            for name in cls.model_fields
            if hasattr(statistics, name)
        }
        start, end = utc(statistics.window_start), utc(statistics.window_end)
        fields |= {"window_start": start, "window_end": end, "last_updated": end}
        fields |= {
            "scope": scope,
            "replicas_seen": statistics.instances,
            "staleness_seconds": staleness(statistics.window_end),
        }
        return cls.model_validate(fields)


class AllStatisticsBody(BaseModel):
    """Statistics of every model."""

    models: dict[str, StatisticsBody]


class CheckBody(BaseModel):
    """One question that health puts to a model."""

    name: str
    status: CheckStatus
    value: float | None
    threshold: float
    unit: str
    window_seconds: float
    observations: Annotated[int, Field(description="Requests in the window.")]
    last_decided: Annotated[
        CheckStatus | None,
        Field(description="What it said when it last had enough data; that stands until then."),
    ]

    @classmethod
    def of(cls, check: Check, window_seconds: float) -> Self:
        """Map the core's value."""
        return cls(
            name=check.name,
            status=check.status,
            value=check.value,
            threshold=check.threshold,
            unit=check.unit,
            window_seconds=window_seconds,
            observations=check.observations,
            last_decided=check.last_decided,
        )


class ModelHealthBody(BaseModel):
    """Health of one model."""

    status: HealthStatus
    total_requests: int
    error_rate: float | None
    avg_latency_ms: float | None
    requests_per_minute: float
    checks: list[CheckBody]

    @classmethod
    def of(cls, health: ModelHealth, report: HealthReport) -> Self:
        """Map the core's value."""
        ratio, latency = health.counts.error_ratio, health.counts.durations.mean
        return cls(
            status=health.status,
            total_requests=round(health.counts.requests),
            error_rate=None if ratio is None else ratio * PERCENT,
            avg_latency_ms=None if latency is None else latency * MILLISECONDS,
            requests_per_minute=report.requests_per_minute.get(health.model_name, 0.0),
            checks=[CheckBody.of(check, report.window.seconds) for check in health.checks],
        )


class HealthBody(ScopeBody):
    """Health of all models; a sick model is still an answer with status 200."""

    status: HealthStatus
    timestamp: datetime
    models: dict[str, ModelHealthBody]
    alerts: list[str]
    window_start: datetime
    window_end: datetime
    rehearsal: Annotated[
        str | None, Field(description="Faults that are injected on purpose (CTR_FAULTS).")
    ]

    @classmethod
    def of(cls, report: HealthReport, rehearsal: str, scope: ScopeName) -> Self:
        """Map the core's value."""
        return cls(
            status=report.status,
            timestamp=utc(report.window.end),
            models={
                health.model_name: ModelHealthBody.of(health, report) for health in report.models
            },
            alerts=list(report.alerts),
            window_start=utc(report.window.start),
            window_end=utc(report.window.end),
            rehearsal=rehearsal or None,
            scope=scope,
            replicas_seen=report.window.instances,
            staleness_seconds=staleness(report.window.end),
        )


class BaselineBody(BaseModel):
    """A reference for one model."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "model_name": "xgboost",
                    "mean_prediction": 0.0234,
                    "std_prediction": 0.0123,
                    "mean_latency_ms": 45.6,
                    "std_latency_ms": 12.3,
                }
            ]
        },
    )

    model_name: str
    mean_prediction: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
    std_prediction: Annotated[float, Field(strict=True, ge=1e-6, le=0.5, allow_inf_nan=False)]
    mean_latency_ms: Positive
    std_latency_ms: Positive
    observations: Annotated[
        int | None,
        Field(strict=True, ge=2, le=10**15, description="Predictions behind the numbers."),
    ] = None
    window_std_prediction: Annotated[
        Spread | None, Field(description="Between hourly means, beyond sampling.")
    ] = None
    window_std_latency_ms: Spread | None = None
    note: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _std_is_possible(self) -> Self:
        # No quantity between 0 and 1 with this mean can spread wider.
        widest = math.sqrt(self.mean_prediction * (1 - self.mean_prediction))
        if self.std_prediction > widest:
            raise ValueError(
                f"std_prediction: no predictions with the mean {self.mean_prediction:g} "
                f"have a standard deviation above {widest:.4g}"
            )
        return self


class CaptureBody(BaseModel):
    """Why a baseline is captured; may be left out."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=500)] = ""


class BucketBody(BaseModel):
    """The observations above `lower`, or in the first bucket at it, and at most `upper`."""

    lower: float
    upper: float
    observations: int


def buckets_of(bounds: Sequence[float], counts: Sequence[float]) -> list[BucketBody]:
    """Give the buckets of predictions; what is above 1, and cannot be, is left out.

    Args:
        bounds: Finite upper bounds, ascending.
        counts: Not cumulative; a last one may be of what is above all bounds.
    """
    return [
        BucketBody(lower=lower, upper=upper, observations=round(count))
        for lower, upper, count in zip((0.0, *bounds), bounds, counts, strict=False)
    ]


class BaselineHourBody(BaseModel):
    """An hour of the UTC day."""

    hour: int
    observations: int
    mean_prediction: float | None


class StoredBaselineBody(BaseModel):
    """The baseline in force."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    revision: Annotated[int, Field(description="0 is the baseline that training wrote.")]
    source: Literal["training", "request", "capture"]
    mean_prediction: float
    std_prediction: float
    mean_latency_ms: float | None
    std_latency_ms: float | None
    observations: int | None
    window_std_prediction: float | None
    window_std_latency_ms: float | None
    has_distribution: Annotated[
        bool, Field(description="Whether drift can compare shapes, not only moments.")
    ]
    distribution: Annotated[
        list[BucketBody] | None, Field(description="Of its predictions; null where not known.")
    ]
    hours: Annotated[
        list[BaselineHourBody] | None,
        Field(description="Its predictions by hour of the UTC day; null where not known."),
    ]
    window_start: Annotated[datetime | None, Field(description="Of captured traffic.")]
    window_end: datetime | None
    created_at: datetime
    created_by: str
    note: str

    @classmethod
    def of(cls, stored: BaselineRevision) -> Self:
        """Map the stored value."""
        baseline = stored.baseline
        return cls(
            model_name=baseline.model_name,
            model_version=baseline.model_version,
            revision=stored.revision,
            source=baseline.source,
            mean_prediction=baseline.mean_prediction,
            std_prediction=baseline.std_prediction,
            mean_latency_ms=_milliseconds(baseline.mean_latency_seconds),
            std_latency_ms=_milliseconds(baseline.std_latency_seconds),
            observations=baseline.observations,
            window_std_prediction=baseline.window_std_prediction,
            window_std_latency_ms=_milliseconds(baseline.window_std_latency_seconds),
            has_distribution=baseline.predictions is not None,
            distribution=_distribution(baseline.predictions),
            hours=_hours(baseline.predictions),
            window_start=None if baseline.window_start is None else utc(baseline.window_start),
            window_end=None if baseline.window_end is None else utc(baseline.window_end),
            created_at=baseline.created_at,
            created_by=baseline.created_by,
            note=baseline.note,
        )


def _distribution(known: HourlyDistribution | None) -> list[BucketBody] | None:
    if known is None:
        return None
    return buckets_of(known.bounds.tolist(), known.counts.sum(axis=0).tolist())


def _hours(known: HourlyDistribution | None) -> list[BaselineHourBody] | None:
    if known is None:
        return None
    sizes, means = known.counts.sum(axis=1).tolist(), known.hourly_means
    return [
        BaselineHourBody(hour=hour, observations=size, mean_prediction=mean)
        for hour, (size, mean) in enumerate(zip(sizes, means, strict=True))
    ]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MILLISECONDS
