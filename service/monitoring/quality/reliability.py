"""The reliability curve: for each bucket of the score, how often it was clicked."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.monitoring.interval import Interval
from service.monitoring.quality.intervals import wilson
from service.monitoring.quality.score_buckets import ScoreBuckets


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityRow:
    """The predictions of one bucket of the score."""

    lower: float
    """They are above this, or in the first bucket at it,"""
    upper: float
    """and at most this."""
    predictions: int
    clicks: int
    mean_prediction: float
    """Estimated; within the bounds, and in line with the exact sum over all rows."""
    ctr: float
    ctr_interval: Interval
    """Wilson's; a model is calibrated where it holds the mean prediction."""


def reliability_of(buckets: ScoreBuckets) -> Sequence[ReliabilityRow]:
    """Give a row for every bucket that holds predictions, ascending."""
    return [
        ReliabilityRow(
            lower=float(lower),
            upper=float(upper),
            predictions=round(count),
            clicks=round(clicks),
            mean_prediction=float(mean),
            ctr=float(clicks / count),
            ctr_interval=wilson(float(clicks), float(count)),
        )
        for lower, upper, count, clicks, mean in zip(
            buckets.lower,
            buckets.upper,
            buckets.predictions,
            buckets.clicked,
            buckets.means,
            strict=True,
        )
    ]
