"""The statistics of one model over one window, in the units of the REST contract."""

from dataclasses import dataclass
from typing import Self

from service.monitoring.counts import Extremes, ModelCounts
from service.monitoring.window import Window

MILLISECONDS = 1000.0
PERCENT = 100.0
SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What `/monitoring/stats` says of a model; None stands for "there is no such number"."""

    model_name: str
    total_requests: int
    successful_requests: int
    error_count: int
    error_rate: float | None
    """Percent of the requests."""
    avg_latency_ms: float | None
    std_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    min_latency_ms: float | None
    """Since the counters began; over a shorter window there is no exact minimum."""
    max_latency_ms: float | None
    requests_per_minute: float
    """Over the last minute, whatever the window."""
    total_predictions: int
    mean_prediction: float | None
    std_prediction: float | None
    window_start: float
    """Unix seconds."""
    window_end: float
    instances: int
    """Of how many instances this is the sum."""

    @classmethod
    def of(
        cls,
        model_name: str,
        counts: ModelCounts,
        *,
        extremes: Extremes | None,
        requests_per_minute: float,
        window: Window,
    ) -> Self:
        """Compute the statistics.

        Args:
            model_name: Whose they are.
            counts: Growth over the window.
            extremes: Where the window reaches back to the beginning of the counters.
            requests_per_minute: Over the last minute.
            window: What the growth was over.
        """
        durations = counts.durations
        return cls(
            model_name=model_name,
            total_requests=round(counts.requests),
            successful_requests=round(counts.successes),
            error_count=round(counts.errors),
            error_rate=_scaled(counts.error_ratio, PERCENT),
            avg_latency_ms=_scaled(durations.mean, MILLISECONDS),
            std_latency_ms=_scaled(durations.std, MILLISECONDS),
            p50_latency_ms=_scaled(durations.quantile(0.50), MILLISECONDS),
            p95_latency_ms=_scaled(durations.quantile(0.95), MILLISECONDS),
            p99_latency_ms=_scaled(durations.quantile(0.99), MILLISECONDS),
            min_latency_ms=_scaled(extremes.shortest, MILLISECONDS) if extremes else None,
            max_latency_ms=_scaled(extremes.longest, MILLISECONDS) if extremes else None,
            requests_per_minute=requests_per_minute,
            total_predictions=round(counts.predictions.count),
            mean_prediction=counts.predictions.mean,
            std_prediction=counts.predictions.std,
            window_start=window.start,
            window_end=window.end,
            instances=window.instances,
        )


def per_minute(requests: float, seconds: float) -> float:
    """Requests of the last minute.

    Args:
        requests: Growth over a window that was asked to be a minute long.
        seconds: Its true length: longer by up to a tick, or shorter where the service has not
            run for a minute. Before that there were none, so nothing is extrapolated.
    """
    return requests * min(SECONDS_PER_MINUTE / seconds, 1.0) if seconds > 0 else 0.0


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
