"""The quality of a model over a cohort of its predictions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from service.monitoring.clicks import Cohort
from service.monitoring.interval import Interval
from service.monitoring.quality.intervals import clicks_per_expected, wilson
from service.monitoring.quality.losses import Losses
from service.monitoring.quality.ranking import Ranking
from service.monitoring.quality.reliability import ReliabilityRow, reliability_of
from service.monitoring.quality.score_buckets import ScoreBuckets

MIN_CLICKS = 20
"""With fewer clicks, or fewer non-clicks, the intervals hold the truth too seldom."""


class QualityStatus(StrEnum):
    """Whether the numbers can be judged by."""

    OK = "ok"
    INSUFFICIENT_DATA = "insufficient_data"


class Measure(StrEnum):
    """What is estimated, under the name that metrics and MLflow have for it."""

    CTR = "ctr"
    CALIBRATION_RATIO = "calibration_ratio"
    LOG_LOSS = "log_loss"
    NORMALIZED_ENTROPY = "normalized_entropy"
    AUC = "auc"


class Estimate(NamedTuple):
    """One measure of quality."""

    value: float
    interval: Interval


class Shortage(StrEnum):
    """What there is too little of."""

    PREDICTIONS = "few_predictions"
    CLICKS = "few_clicks"
    NON_CLICKS = "few_non_clicks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What `/monitoring/quality` says of a model; None stands for "there is no such number".

    With a shortage the numbers are those of the few predictions there are.
    """

    predictions: int
    clicks: int
    ctr: float | None
    ctr_interval: Interval | None
    """Wilson's."""
    mean_prediction: float | None
    """Exact."""
    calibration_ratio: float | None
    """Expected clicks, the sum of the predictions, over clicks; above 1 the model predicts too
    many. As in He et al. (2014). None without a click."""
    calibration_interval: Interval | None
    """From the score interval of the clicks, given the predictions."""
    losses: Losses | None
    ranking: Ranking | None
    """None without both clicks and non-clicks."""
    reliability: Sequence[ReliabilityRow]
    window_start: float
    """The predictions were answered from then on, in Unix seconds."""
    window_end: float
    shortage: Shortage | None

    @property
    def status(self) -> QualityStatus:
        """Whether there is enough of everything."""
        return QualityStatus.INSUFFICIENT_DATA if self.shortage else QualityStatus.OK

    @property
    def estimates(self) -> Mapping[Measure, Estimate]:
        """Every measure that there is, with its interval."""
        losses, ranking = self.losses, self.ranking
        found = {
            Measure.CTR: (self.ctr, self.ctr_interval),
            Measure.CALIBRATION_RATIO: (self.calibration_ratio, self.calibration_interval),
            Measure.LOG_LOSS: (losses.log_loss, losses.log_loss_interval)
            if losses
            else (None, None),
            Measure.NORMALIZED_ENTROPY: (
                losses.normalized_entropy,
                losses.normalized_entropy_interval,
            )
            if losses
            else (None, None),
            Measure.AUC: (ranking.auc, ranking.interval) if ranking else (None, None),
        }
        return {
            measure: Estimate(value, interval)
            for measure, (value, interval) in found.items()
            if value is not None and interval is not None
        }

    @classmethod
    def of(cls, cohort: Cohort, *, min_predictions: int, min_clicks: int = MIN_CLICKS) -> Self:
        """Compute the quality.

        Args:
            cohort: Old enough for its clicks to have come.
            min_predictions: Fewer are too little to judge by.
            min_clicks: Fewer clicks, or non-clicks, are too little.
        """
        predictions, clicks = cohort.predictions, cohort.clicks
        count = predictions.count
        buckets = ScoreBuckets.of(cohort) if count else None
        return cls(
            predictions=round(count),
            clicks=round(clicks.count),
            ctr=clicks.count / count if count else None,
            ctr_interval=wilson(min(clicks.count, count), count) if count else None,
            mean_prediction=predictions.mean,
            calibration_ratio=predictions.total / clicks.count if clicks.count else None,
            calibration_interval=_calibration_interval(cohort),
            losses=Losses.of(cohort, buckets) if buckets else None,
            ranking=Ranking.of(buckets) if buckets else None,
            reliability=reliability_of(buckets) if buckets else (),
            window_start=cohort.start,
            window_end=cohort.end,
            shortage=_shortage(cohort, min_predictions, min_clicks),
        )


def _calibration_interval(cohort: Cohort) -> Interval | None:
    predictions = cohort.predictions
    if not predictions.total:
        return None
    found = clicks_per_expected(
        cohort.clicks.count, predictions.total, predictions.total_of_squares
    )
    return Interval(1 / found.high, 1 / found.low if found.low else math.inf)


def _shortage(cohort: Cohort, min_predictions: int, min_clicks: int) -> Shortage | None:
    count, clicks = cohort.predictions.count, cohort.clicks.count
    if count < min_predictions:
        return Shortage.PREDICTIONS
    if clicks < min_clicks:
        return Shortage.CLICKS
    return Shortage.NON_CLICKS if count - clicks < min_clicks else None
