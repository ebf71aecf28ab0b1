"""What kind of change it is, judged by the moments since it began."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from service.monitoring.drift.reference import QuantityReference
from service.monitoring.drift.ticks import Floats

_CLEAR_MEAN = 3.0
_CLEAR_VARIANCE = 2.6
"""Standard errors beyond the zone at which a moment is held to have changed."""


class DriftKind(StrEnum):
    """The kinds of drift that an answer names."""

    MEAN_SHIFT = "mean_shift"
    VARIANCE_CHANGE = "variance_change"
    SHAPE_CHANGE = "shape_change"
    LATENCY_ANOMALY = "latency_anomaly"
    CALIBRATION_SHIFT = "calibration_shift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is different since the estimated start."""

    ticks: float
    """How many ticks ago it began."""
    mean: float
    """Shift of the mean in standard deviations."""
    variance_ratio: float
    mean_errors: float
    """Standard errors by which the mean lies beyond its zone."""
    variance_errors: float
    """Standard errors of the logarithm of the variance ratio."""

    @property
    def prediction_kind(self) -> DriftKind:
        """The first moment that is clearly different, else the shape."""
        if self.mean_errors >= _CLEAR_MEAN:
            return DriftKind.MEAN_SHIFT
        if self.variance_errors >= _CLEAR_VARIANCE:
            return DriftKind.VARIANCE_CHANGE
        return DriftKind.SHAPE_CHANGE


def change_since(reference: QuantityReference, sums: Floats) -> Change | None:
    """Estimate when a change began and what it did to the moments.

    The start is where the likelihood ratio of the best channel, sampling noise and wander
    included, is greatest.

    Args:
        reference: Of the quantity.
        sums: From every possible start until now: ticks, count, squares of channel 0, and the
            sums of all channels; shape ``(r, 3 + c)``.
    """
    ticks, count, squares, totals = sums[:, 0], sums[:, 1], sums[:, 2], sums[:, 3:]
    seen = count > 1
    if not seen.any():
        return None
    ticks, count, squares, totals = ticks[seen], count[seen], squares[seen], totals[seen]
    means = totals / count[:, None]
    span = 15.0 * ticks[:, None]
    noise = 1 / count[:, None] + reference.wander.variance_of_mean(span)
    beyond = (np.abs(means) - reference.zones).clip(min=0)
    gain = (beyond**2 / noise).max(axis=1)
    best = int(np.argmax(gain))
    mean = float(means[best, 0])
    variance = max(float(squares[best] / count[best] - mean**2), 1e-12)
    # Of the logarithm of a sample variance; the greater of the two kurtoses would be safer still.
    error = math.sqrt((reference.course.kurtosis - 1) / float(count[best]))
    return Change(
        ticks=float(ticks[best]),
        mean=mean,
        variance_ratio=variance,
        mean_errors=float(beyond[best, 0] / math.sqrt(noise[best, 0])),
        variance_errors=abs(math.log(variance)) / error,
    )
