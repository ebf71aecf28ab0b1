"""Predictions and clicks by bucket of the score, and where in its bucket a score lies."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.clicks import Cohort

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreBuckets:
    """The buckets that hold a prediction, ascending; every array has the shape ``(b,)``."""

    lower: Floats
    upper: Floats
    clicked: Floats
    """Predictions that were clicked."""
    others: Floats
    """Predictions that were not."""
    clicked_means: Floats
    """Estimated mean of the clicked predictions of each bucket."""
    other_means: Floats
    """Estimated mean of the others."""

    @property
    def predictions(self) -> Floats:
        """All predictions of each bucket."""
        return self.clicked + self.others

    @property
    def means(self) -> Floats:
        """Estimated mean prediction of each bucket.

        It lies between the bucket's bounds, and the means times the predictions add up to the
        exact sum of all predictions.
        """
        sums = self.clicked * self.clicked_means + self.others * self.other_means
        return np.clip(sums / self.predictions, self.lower, self.upper)

    @classmethod
    def of(cls, cohort: Cohort) -> Self:
        """Sort a cohort that has at least one prediction."""
        cumulative = cohort.predictions.cumulative
        counts = np.diff(cumulative, prepend=0.0)
        # A probability is at most 1, whatever the bounds.
        upper = np.minimum(cohort.predictions.bounds, 1.0)
        lower = np.concatenate(([0.0], upper[:-1]))
        clicked = cohort.clicks.by_bucket
        # A prediction is signed a moment before it is counted: at the edge of a cohort a click can
        # belong to a prediction of the next one.
        others = np.maximum(counts - clicked, 0.0)
        clicked_means = estimated_means(clicked, lower, upper, cohort.clicks.prediction)
        other_sum = cohort.predictions.total - cohort.clicks.prediction
        other_means = estimated_means(others, lower, upper, other_sum)
        filled = (clicked + others) > 0
        return cls(
            lower=lower[filled],
            upper=upper[filled],
            clicked=clicked[filled],
            others=others[filled],
            clicked_means=clicked_means[filled],
            other_means=other_means[filled],
        )


def estimated_means(counts: Floats, lower: Floats, upper: Floats, total: float) -> Floats:
    """Estimate the mean of each bucket's observations, of which only counts and a sum are known.

    First the density is taken to be linear within a bucket, with the slope that the neighbours
    have. Then all means are moved the same share of the way to their upper, or lower, bounds, so
    that they add up to the sum. An estimate is off by at most the width of its bucket.

    Args:
        counts: Observations of each bucket, shape ``(b,)``.
        lower: Bounds, shape ``(b,)``; a bucket of no width holds observations of that value.
        upper: As ``lower``.
        total: Sum of the observations.
    """
    width = upper - lower
    density = np.divide(counts, width, out=np.zeros_like(counts), where=width > 0)
    around = np.concatenate(([0.0], density, [0.0]))
    rise = (around[2:] - around[:-2]) / 2
    lean = np.divide(rise, density, out=np.zeros_like(rise), where=density > 0)
    # Beyond 2 the line would fall below zero within the bucket.
    means = lower + width * (0.5 + np.clip(lean, -2.0, 2.0) / 12)
    missing = total - float(counts @ means)
    room = (upper if missing > 0 else lower) - means
    reach = float(counts @ room)
    return means + room * min(missing / reach, 1.0) if reach else means
