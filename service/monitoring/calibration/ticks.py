"""Cohorts of predictions with their clicks, as the test of calibration sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.clicks import Cohort

Floats = NDArray[np.float64]

LOWER_EDGES = np.array([0.0, *PREDICTION_BOUNDS])
UPPER_EDGES = np.array([*PREDICTION_BOUNDS, 1.0])
"""A prediction is a probability: the last bucket holds nothing."""
_MIDDLES = (LOWER_EDGES + UPPER_EDGES) / 2
_LEAST_SPREAD = 1e-3
"""Scores that are closer together, relatively, are one score."""
_NOTHING = 1e-12
_MOST = 50.0
"""Of an exponent: a bet that costs e^50 is lost already."""


class Miscalibration(StrEnum):
    """How clicks can disagree with predictions."""

    LEVEL = "level"
    """There are more than predicted, or fewer."""
    SLOPE = "slope"
    """High predictions get fewer than they promise and low ones more, or the other way round."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationTicks:
    """Cohorts of one model version in the order of time; shape ``(t,)`` where nothing is said."""

    start: Floats
    """Of the cohort in Unix seconds."""
    end: Floats
    counts: Floats
    """Predictions by bucket, not cumulative, shape ``(t, b)``."""
    promised: Floats
    """Exact sum of the predictions: the number of clicks that they promise."""
    squares: Floats
    """Exact sum of their squares."""
    clicks: Floats
    clicked: Floats
    """Exact sum of the predictions that were clicked."""

    def __len__(self) -> int:
        return len(self.end)

    @classmethod
    def of(cls, cohorts: Sequence[Cohort]) -> Self:
        """Take the sums of cohorts in the order of time."""
        cumulative = np.array([cohort.predictions.cumulative for cohort in cohorts])
        return cls(
            start=np.array([cohort.start for cohort in cohorts]),
            end=np.array([cohort.end for cohort in cohorts]),
            counts=np.diff(cumulative.reshape(-1, len(UPPER_EDGES)), prepend=0.0, axis=1),
            promised=np.array([cohort.predictions.total for cohort in cohorts]),
            squares=np.array([cohort.predictions.total_of_squares for cohort in cohorts]),
            clicks=np.array([cohort.clicks.count for cohort in cohorts]),
            clicked=np.array([cohort.clicks.prediction for cohort in cohorts]),
        )

    @property
    def predictions(self) -> Floats:
        """How many there are."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def middle(self) -> Floats:
        """The mean prediction of the clicks that are promised.

        About it high and low predictions promise the same: ``sum (p - middle) p = 0``, exactly.
        Where nothing is promised it says nothing.
        """
        return self.squares / np.maximum(self.promised, _NOTHING)

    @property
    def spread(self) -> Floats:
        """Standard deviation of the predictions of promised clicks; by middles of buckets."""
        away = _MIDDLES - self.middle[:, None]
        promised = self.counts * _MIDDLES
        total = np.maximum(promised.sum(axis=1), _NOTHING)
        spread = np.sqrt((promised * away**2).sum(axis=1) / total)
        return np.asarray(np.maximum(spread, _LEAST_SPREAD * self.middle + _NOTHING))

    @property
    def tilt(self) -> Floats:
        """Sum over the clicks of how high their predictions are, in spreads; exact.

        Its mean is 0 whatever the level, as long as all scores have the same ratio.
        """
        return (self.clicked - self.middle * self.clicks) / self.spread

    @property
    def leverage(self) -> Floats:
        """Sum of ``p |p - middle|`` over all predictions, in spreads; at most, by edges of buckets.

        How much the tilt is when high predictions get their clicks twice and low ones none. What
        lies above the middle adds up to as much as what lies below, where ``p (middle - p)`` is
        nearly level, so that its greatest value in a bucket is close to all.
        """
        middle = self.middle[:, None]
        place = np.clip(middle / 2, LOWER_EDGES, UPPER_EDGES)
        below = self.counts * (place * (middle - place)).clip(min=0.0)
        return np.asarray(2 * below.sum(axis=1) / self.spread)

    def price_of_tilt(self, stake: float) -> Floats:
        """Sum of ``p (e^x - 1 - x)`` with ``x = stake (p - middle) / spread``; at most.

        The bracket is convex about the middle: in a bucket it is greatest at one of the edges.
        """
        middle, spread = self.middle[:, None], self.spread[:, None]
        lower = np.minimum(stake * (LOWER_EDGES - middle) / spread, _MOST)
        upper = np.minimum(stake * (UPPER_EDGES - middle) / spread, _MOST)
        worst = np.maximum(np.expm1(lower) - lower, np.expm1(upper) - upper)
        return np.asarray((self.counts * UPPER_EDGES * worst).sum(axis=1))

    def part(self, rows: slice) -> Self:
        """Give some of them."""
        return type(self)(
            start=self.start[rows],
            end=self.end[rows],
            counts=self.counts[rows],
            promised=self.promised[rows],
            squares=self.squares[rows],
            clicks=self.clicks[rows],
            clicked=self.clicked[rows],
        )
