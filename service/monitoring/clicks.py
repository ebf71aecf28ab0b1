"""What came of predictions: clicks, added up by the time of the prediction they belong to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.histogram import HistogramCounts

COHORT_SECONDS = 60
"""Clicks are kept by the whole minute of their prediction; the history keeps the same minutes."""
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Logarithms are taken of p held between this and one minus this, as scikit-learn does."""


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
