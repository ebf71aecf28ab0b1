"""How well scores rank clicks above the rest, from buckets of the score."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from service.monitoring.interval import Interval
from service.monitoring.quality.intervals import wilson
from service.monitoring.quality.score_buckets import Floats, ScoreBuckets


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Area under the ROC curve: the probability that a click scored above a non-click."""

    auc: float
    """With half credit for a pair in one bucket."""
    bounds: Interval
    """The AUC of the scores themselves is surely within: each pair in one bucket wrong, or right.
    """
    interval: Interval
    """The bounds, widened by what another sample might have given."""

    @classmethod
    def of(cls, buckets: ScoreBuckets) -> Self | None:
        """Compute it; None without a click or without a non-click.

        The interval goes from the lower end of the lower bound's to the upper end of the upper
        bound's (Horowitz & Manski, J. Am. Stat. Assoc. 95 (2000) 77), each Wilson's for as many
        trials as have the variance of DeLong et al., Biometrics 44 (1988) 837. So it stays within
        0 and 1. (Counting effective trials: Korn & Graubard, Survey Methodology 24 (1998) 193.)
        """
        if not buckets.clicked.any() or not buckets.others.any():
            return None
        wrong, half, right = (_Area.of(buckets, credit) for credit in (0.0, 0.5, 1.0))
        return cls(
            auc=half.value,
            bounds=Interval(wrong.value, right.value),
            interval=Interval(wrong.interval().low, right.interval().high),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Area:
    value: float
    variance: float
    """Sampling variance, DeLong's."""
    fewest: float
    """Clicks or non-clicks, whichever are fewer."""

    @classmethod
    def of(cls, buckets: ScoreBuckets, credit: float) -> Self:
        """Compute the area with ``credit`` for a pair in one bucket."""
        clicked, others = buckets.clicked, buckets.others
        clicks, rest = float(clicked.sum()), float(others.sum())
        below = np.cumsum(others) - others
        above = clicks - np.cumsum(clicked)
        of_click = (below + credit * others) / rest
        of_other = (above + credit * clicked) / clicks
        value = min(float(clicked @ of_click) / clicks, 1.0)
        return cls(
            value=value,
            variance=_variance_of_mean(of_click, clicked, value)
            + _variance_of_mean(of_other, others, value),
            fewest=min(clicks, rest),
        )

    def interval(self) -> Interval:
        # No area of so many clicks and non-clicks has a greater variance (van Dantzig, Ned. Akad.
        # Wetensch. A 54 (1951) 1), so this many trials there always are, also where the sample's
        # ranking is perfect and its variance therefore zero.
        trials = self.fewest
        if self.variance > 0:
            trials = max(trials, self.value * (1 - self.value) / self.variance)
        return wilson(self.value * trials, trials)


def _variance_of_mean(values: Floats, weights: Floats, mean: float) -> float:
    count = float(weights.sum())
    return float(weights @ (values - mean) ** 2) / max(count - 1, 1.0) / count
