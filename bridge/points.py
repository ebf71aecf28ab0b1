"""The numbers of one window under the names that MLflow shows."""

import math
import re
from collections.abc import Mapping, Sequence

from bridge.windows import Slot
from service.monitoring.counts import ModelCounts
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.sample import DriftSample
from service.monitoring.health import HealthLevel, HealthStatus
from service.monitoring.histogram import HistogramCounts
from service.monitoring.quality.measures import Quality, QualityStatus
from service.monitoring.sampled import SampledWindow
from service.monitoring.statistics import MILLISECONDS, PERCENT, SECONDS_PER_MINUTE
from service.monitoring.tracking import Point
from service.monitoring.window import Window

_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z_.\- ]")
_SAMPLES_PER_SLOT = 10_000
_QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

Numbers = Mapping[str, float]
"""Values by the name that all models have in common."""


def window_numbers(
    counts: ModelCounts,
    *,
    window: Window,
    requests_today: float,
    health: HealthStatus,
    drift: DriftSample | None,
    sampled: SampledWindow | None,
    quality: Quality | None,
) -> Numbers:
    """Say in numbers what a model version did in a window; what does not exist is left out.

    Units are those of REST: milliseconds and percent.

    Args:
        counts: Growth of its counters over the window.
        window: With the true start and end.
        requests_today: Requests since UTC midnight, this window included.
        health: At the end of the window.
        drift: What drift detection said last in the window.
        sampled: What the workers kept of it; knows the exact extremes, which counters do not.
        quality: Of the predictions that were mature at the end of the window.
    """
    durations, predictions = counts.durations, counts.predictions
    found: dict[str, float | None] = {
        "total_requests": requests_today,
        "requests_in_window": counts.requests,
        "errors_in_window": counts.errors,
        "predictions_in_window": predictions.count,
        "requests_per_minute": counts.requests / (window.seconds / SECONDS_PER_MINUTE)
        if window.seconds
        else None,
        "error_rate": _scaled(counts.error_ratio, PERCENT),
        "avg_latency_ms": _scaled(durations.mean, MILLISECONDS),
        "std_latency_ms": _scaled(durations.std, MILLISECONDS),
        **{
            f"{name}_latency_ms": _scaled(durations.quantile(q), MILLISECONDS)
            for name, q in _QUANTILES.items()
        },
        **_bounds(durations),
        "mean_prediction": predictions.mean,
        "std_prediction": predictions.std,
        "health_status": float(HealthLevel[health.name]),
        "window_seconds": window.seconds,
    }
    if sampled is not None:
        found |= {
            "min_latency_ms": sampled.shortest_seconds * MILLISECONDS,
            "max_latency_ms": sampled.longest_seconds * MILLISECONDS,
        }
    if drift is not None:
        found |= {
            "drift_detected": float(bool(drift.standing)),
            "drift_log_evidence": drift.log_evidence,
            "drift_log_evidence_threshold": LOG_THRESHOLD,
            "drift_mean_shift": drift.effects.mean_shift,
            "drift_variance_ratio": drift.effects.variance_ratio,
            "drift_shape_distance": drift.effects.shape_distance,
            "drift_latency_shift": drift.effects.latency_shift,
        }
    if quality is not None:
        found |= _quality_numbers(quality)
    return {
        name: value for name, value in found.items() if value is not None and math.isfinite(value)
    }


def day_numbers(windows: Sequence[Numbers]) -> Numbers:
    """Aggregate the windows of a day so far, under names that a search finds as latest values."""
    found = {
        "day/requests": sum(window.get("requests_in_window", 0.0) for window in windows),
        "day/errors": sum(window.get("errors_in_window", 0.0) for window in windows),
        "day/windows_present": float(len(windows)),
    }
    for name in ("error_rate", "p95_latency_ms", "avg_latency_ms", "drift_log_evidence"):
        values = [window[name] for window in windows if name in window]
        if values:
            found[f"day/max_{name}"] = max(values)
    found["day/degraded_windows"] = float(
        sum(window.get("health_status", 0.0) == HealthLevel.DEGRADED for window in windows)
    )
    return found


def points_of(numbers: Numbers, *, model_name: str, slot: Slot) -> Sequence[Point]:
    """Give every number its two names: with the model's prefix, and the common one.

    The prefixed name is the one that people search for; common names overlay in one chart.
    """
    prefix = metric_prefix(model_name)
    at = slot.end * 1000
    return [
        Point(name, value, at, slot.number)
        for common, value in numbers.items()
        for name in (prefix + common, common)
    ]


def common_points_of(numbers: Numbers, slot: Slot) -> Sequence[Point]:
    """Give numbers that have no prefixed name, such as those of a day."""
    return [Point(name, value, slot.end * 1000, slot.number) for name, value in numbers.items()]


def common_numbers(points: Sequence[Point]) -> Numbers:
    """Read numbers back from points that :func:`points_of` made."""
    return {point.name: point.value for point in points[1::2]}


def sample_points(sampled: SampledWindow, *, slot: Slot) -> Sequence[Point]:
    """Give individual predictions and errors; the step is their number within the day."""
    prefix = metric_prefix(sampled.model.model)
    events = sorted(
        [(p.at, p.latency_seconds, 0.0, p.prediction) for p in sampled.predictions]
        + [(e.at, e.latency_seconds, 1.0, math.nan) for e in sampled.errors]
    )
    points: list[Point] = []
    for number, (at, seconds, failed, prediction) in enumerate(events):
        step = slot.place_in_day * _SAMPLES_PER_SLOT + number
        found = {"latency_ms": seconds * MILLISECONDS, "error": failed, "prediction": prediction}
        points += [
            Point(prefix + name, value, int(at * 1000), step)
            for name, value in found.items()
            if math.isfinite(value)
        ]
    return points


def metric_prefix(model_name: str) -> str:
    """Prefix of a model's metrics; characters that MLflow refuses in names become ``_``."""
    return _NOT_IN_NAMES.sub("_", model_name) + "_"


def _quality_numbers(quality: Quality) -> Numbers:
    found = {
        "quality_predictions": float(quality.predictions),
        "quality_clicks": float(quality.clicks),
    }
    if quality.status is not QualityStatus.OK:
        return found
    for measure, (value, interval) in quality.estimates.items():
        found |= {
            f"quality_{measure}": value,
            f"quality_{measure}_low": interval.low,
            f"quality_{measure}_high": interval.high,
        }
    return found


def _bounds(durations: HistogramCounts) -> Mapping[str, float | None]:
    """Between what the exact minimum and maximum of a window lie, which counters do not know."""
    filled = (
        [
            bucket
            for bucket, (before, after) in enumerate(
                zip((0.0, *durations.cumulative[:-1]), durations.cumulative, strict=True)
            )
            if after > before
        ]
        if len(durations.cumulative)
        else []
    )
    if not filled:
        return {}
    least = durations.bounds[filled[0] - 1] if filled[0] else 0.0
    most = durations.bounds[filled[-1]]
    return {
        "min_latency_ms_at_least": float(least) * MILLISECONDS,
        "max_latency_ms_at_most": float(most) * MILLISECONDS,
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
