"""Log loss and normalised entropy: exact from sums, with intervals from buckets."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from service.monitoring.clicks import SMALLEST_PROBABILITY, Cohort
from service.monitoring.interval import Interval
from service.monitoring.quality.intervals import normal
from service.monitoring.quality.score_buckets import Floats, ScoreBuckets


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """How far predictions were from what happened; lower is better."""

    log_loss: float
    """Mean of -ln(p) over clicks and -ln(1 - p) over the rest, nats; exact."""
    log_loss_interval: Interval
    normalized_entropy: float | None
    """Log loss over that of always predicting these predictions' own CTR; None where that CTR is
    0 or 1. Source: He et al., Practical lessons from predicting clicks on ads (ADKDD 2014)."""
    normalized_entropy_interval: Interval | None

    @classmethod
    def of(cls, cohort: Cohort, buckets: ScoreBuckets) -> Self:
        """Compute them for a cohort that has at least one prediction.

        The intervals are by the central limit theorem; predictions count as independent, so that
        where users click much or never on many of them the truth lies outside more often. For
        the normalised entropy the CTR varies with the loss (delta method).
        """
        clicks = cohort.clicks
        count = cohort.predictions.count
        of_clicks = clicks.negative_log
        of_others = cohort.negative_log_complement - clicks.negative_log_complement
        loss = (of_others + of_clicks) / count
        spread = _Spread(
            clicked=buckets.clicked,
            others=buckets.others,
            loss_of_click=_scaled(buckets.clicked, -_log(buckets.clicked_means), of_clicks),
            loss_of_other=_scaled(buckets.others, -_log(1 - buckets.other_means), of_others),
        )
        ctr = clicks.count / count
        entropy = _entropy(ctr)
        slope = math.log((1 - ctr) / ctr) if entropy else 0.0
        ratio = loss / entropy if entropy else None
        return cls(
            log_loss=loss,
            log_loss_interval=normal(loss, spread.standard_error(for_a_click=0.0)),
            normalized_entropy=ratio,
            normalized_entropy_interval=None
            if ratio is None
            else normal(ratio, spread.standard_error(for_a_click=ratio * slope) / entropy),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spread:
    """Estimated loss of each bucket's predictions."""

    clicked: Floats
    others: Floats
    loss_of_click: Floats
    loss_of_other: Floats

    def standard_error(self, *, for_a_click: float) -> float:
        """Of the mean of loss - ``for_a_click`` x (1 if clicked else 0)."""
        of_click = self.loss_of_click - for_a_click
        count = float(self.clicked.sum() + self.others.sum())
        mean = float(self.clicked @ of_click + self.others @ self.loss_of_other) / count
        squares = self.clicked @ (of_click - mean) ** 2
        squares += self.others @ (self.loss_of_other - mean) ** 2
        return math.sqrt(float(squares)) / count


def _scaled(counts: Floats, values: Floats, total: float) -> Floats:
    """Scale estimated values of each bucket so that they add up to an exact sum."""
    estimated = float(counts @ values)
    return values * (total / estimated) if estimated else values


def _log(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))


def _entropy(ctr: float) -> float:
    return -ctr * math.log(ctr) - (1 - ctr) * math.log1p(-ctr) if 0 < ctr < 1 else 0.0
