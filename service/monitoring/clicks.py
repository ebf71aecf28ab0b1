"""What came of predictions: clicks, added up by the time of the prediction they belong to."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.histogram import HistogramCounts
from service.monitoring.window import Window

COHORT_SECONDS = 60
"""Clicks are kept by the whole minute of their prediction; the history keeps the same minutes."""
_READING_SECONDS = 5.0
"""A snapshot is read within this after the boundary of the clock that it is for."""
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Logarithms are taken of p held between this and one minus this, as scikit-learn does."""


def negative_log(prediction: float) -> float:
    """Loss -ln(p) of a prediction that was clicked, in nats."""
    return -math.log(max(prediction, SMALLEST_PROBABILITY))


def negative_log_complement(prediction: float) -> float:
    """Loss -ln(1 - p) of a prediction that was not clicked, in nats."""
    return -math.log1p(-min(prediction, 1.0 - SMALLEST_PROBABILITY))


def sum_of_negative_log_complements(predictions: NDArray[np.float64]) -> float:
    """Sum of :func:`negative_log_complement` over predictions, shape ``(n,)``."""
    return -float(np.log1p(-np.minimum(predictions, 1.0 - SMALLEST_PROBABILITY)).sum())


class Click(NamedTuple):
    """One click on one prediction."""

    key: bytes
    """Unique to the prediction."""
    origin: int
    """The instance that predicted, 32 bits."""
    model: str
    version: str
    milliseconds: int
    """When it was predicted, Unix time."""
    prediction: float
    """Predicted CTR."""
    experiment: int
    """Fingerprint of the experiment that chose the model, 32 bits."""
    cell: int | None
    """The user's cell in it; None where no experiment chose the model."""

    @property
    def minute(self) -> int:
        """Beginning of its cohort, Unix seconds."""
        return minute_of(self.milliseconds // 1000)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClickSums:
    """The clicks on the predictions of one model over some span of prediction times."""

    prediction: float
    """Sum of the predictions p that were clicked."""
    negative_log: float
    """Sum of -ln(p)."""
    negative_log_complement: float
    """Sum of -ln(1 - p)."""
    by_bucket: NDArray[np.float64]
    """Clicks by the bucket of p, not cumulative, shape ``(len(PREDICTION_BOUNDS) + 1,)``."""

    @property
    def count(self) -> float:
        """Number of clicks."""
        return float(self.by_bucket.sum())

    @classmethod
    def total(cls, parts: Iterable["ClickSums"]) -> "ClickSums":
        """Add up; no parts are no clicks."""
        return reduce(ClickSums._plus, parts, NO_CLICKS)

    def _plus(self, other: "ClickSums") -> "ClickSums":
        return ClickSums(
            prediction=self.prediction + other.prediction,
            negative_log=self.negative_log + other.negative_log,
            negative_log_complement=self.negative_log_complement + other.negative_log_complement,
            by_bucket=self.by_bucket + other.by_bucket,
        )


NO_CLICKS = ClickSums(
    prediction=0.0,
    negative_log=0.0,
    negative_log_complement=0.0,
    by_bucket=np.zeros(len(PREDICTION_BOUNDS) + 1),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cohort:
    """The predictions of one model version over a span of time, and all the clicks on them."""

    start: float
    """Unix seconds."""
    end: float
    predictions: HistogramCounts
    """Every prediction, clicked or not."""
    negative_log_complement: float
    """Sum of -ln(1 - p) over every prediction."""
    clicks: ClickSums


def cohort_minutes(window: Window, end: float) -> tuple[int, int]:
    """Find the minutes whose clicks belong to the predictions of ``window``.

    However late the reading for ``end`` was, the minute that follows is the next cohort's: else
    its clicks would count in both. Where the window ends before that minute, a life of the
    service did: nothing was predicted in the rest of its last minute.

    Args:
        window: What was predicted.
        end: The boundary of the clock that it was asked to end at, in Unix seconds; a minute that
            has only begun by then is taken in.

    Returns:
        The first minute and the one after the last, Unix seconds.
    """
    reached = end if window.end >= minute_of(end) else window.end - _READING_SECONDS
    return minute_of(window.start), math.ceil(reached / COHORT_SECONDS) * COHORT_SECONDS


def minute_of(seconds: float) -> int:
    """Beginning of the cohort of a prediction, or of a boundary; both in Unix seconds."""
    return math.floor(seconds / COHORT_SECONDS) * COHORT_SECONDS
