"""A baseline taken from ticks: distributions by hour, and how the mean wanders between ticks."""

from datetime import datetime

import numpy as np

from service.monitoring.baseline import Baseline, HourlyDistribution
from service.monitoring.buckets import HOURS_PER_DAY
from service.monitoring.drift.course import Course
from service.monitoring.drift.reference import LATENCY_DEGREE, PREDICTION_DEGREE
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats, Ticks
from service.monitoring.drift.wander import Wander, measure

_SECONDS_PER_HOUR = 3600
# The difference of two sums of squares leaves this much where the truth is zero.
_SMALLEST_RELATIVE_STD = 1e-6


def baseline_from_ticks(
    ticks: Ticks, *, model_name: str, model_version: str, created_at: datetime, created_by: str
) -> Baseline:
    """Make a baseline of ticks during which all was well.

    Raises:
        ValueError: There is no prediction, or all are equal.
    """
    predictions = hourly(ticks.time, ticks.predictions)
    latency = hourly(ticks.time, ticks.latency)
    if not predictions.observations:
        raise ValueError("there is no prediction")
    if not predictions.std > _SMALLEST_RELATIVE_STD * predictions.mean:
        raise ValueError("the predictions do not vary: no reference for real traffic")
    prediction_wander, latency_wander = wanders(predictions, latency, ticks)
    timed = latency.observations > 0
    return Baseline(
        model_name=model_name,
        model_version=model_version,
        mean_prediction=predictions.mean,
        std_prediction=predictions.std,
        mean_latency_seconds=latency.mean if timed else None,
        std_latency_seconds=latency.std if timed else None,
        observations=predictions.observations,
        predictions=predictions,
        latency=latency if timed else None,
        prediction_wander=prediction_wander,
        latency_wander=latency_wander,
        source="capture",
        window_start=float(ticks.time[0]) - TICK_SECONDS,
        window_end=float(ticks.time[-1]),
        created_at=created_at,
        created_by=created_by,
    )


def hourly(time: Floats, quantity: Aggregates) -> HourlyDistribution:
    """Add ticks up by hour of the UTC day."""
    hour = ((time - TICK_SECONDS / 2) // _SECONDS_PER_HOUR).astype(np.int64) % HOURS_PER_DAY
    counts = np.zeros((HOURS_PER_DAY, quantity.buckets.shape[1]))
    np.add.at(counts, hour, quantity.buckets)
    return HourlyDistribution(
        bounds=quantity.bounds,
        counts=counts.round().astype(np.int64),
        sums=np.bincount(hour, quantity.total, HOURS_PER_DAY).astype(np.float64),
        sums_of_squares=np.bincount(hour, quantity.squares, HOURS_PER_DAY).astype(np.float64),
    )


def wanders(
    predictions: HourlyDistribution, latency: HourlyDistribution, ticks: Ticks
) -> tuple[Wander | None, Wander | None]:
    """Measure how the tick means of predictions and of latency wander.

    Args:
        predictions: Added up from these ticks or from more.
        latency: The same.
        ticks: Equally long; a gap is left out.
    """
    return (
        _wander(predictions, ticks.time, ticks.predictions, PREDICTION_DEGREE),
        _wander(latency, ticks.time, ticks.latency, LATENCY_DEGREE),
    )


def _wander(
    hours: HourlyDistribution, time: Floats, quantity: Aggregates, degree: int
) -> Wander | None:
    if not hours.observations or not hours.std > 0:
        return None
    wander: Wander | None = None
    # Hourly means follow the wander itself; the second pass knows how much they may be trusted.
    for _ in range(2):
        seen = Course.from_hours(hours, degree=degree, wander=wander).standardise(time, quantity)
        wander = measure(time, seen.count, seen.sums / np.maximum(seen.count, 1)[:, None])
    return wander
