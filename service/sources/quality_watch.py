"""The quality of the models that are served, from the cohorts of one scope."""

import math
from bisect import bisect_left

import numpy as np

from service.monitoring.clicks import COHORT_SECONDS, NO_CLICKS, Cohort
from service.monitoring.counts import ModelVersion
from service.monitoring.histogram import HistogramCounts
from service.monitoring.quality.measures import Quality
from service.monitoring.quality.report import QualityReport
from service.sources.cohorts import Cohorts


class QualityWatch:
    """Judges model versions on predictions that are older than the attribution window.

    Every method raises an error of the source's own when the source does not answer. Times are in
    Unix seconds.

    Args:
        cohorts: Of the scope.
        window_seconds: How long a span of predictions is judged, unless asked otherwise; rounded
            up to whole minutes.
        attribution_seconds: After so long no click comes in for a prediction any more.
        min_predictions: Fewer are too little to judge by.
    """

    def __init__(
        self,
        cohorts: Cohorts,
        *,
        window_seconds: float,
        attribution_seconds: float,
        min_predictions: int,
    ) -> None:
        self._cohorts = cohorts
        self._window_seconds = window_seconds
        self._attribution_seconds = attribution_seconds
        self._min_predictions = min_predictions

    def mature_until(self, now: float) -> int:
        """End of the predictions that are mature at ``now``."""
        return self._cohorts.mature_until(now)

    def quality(self, model: ModelVersion, now: float) -> Quality:
        """Judge the predictions that were the latest mature ones at ``now``."""
        end = self._cohorts.mature_until(now)
        return self._between(model, self._start(end, self._window_seconds), end)

    def report(
        self, model: ModelVersion, now: float, *, window_seconds: float | None = None
    ) -> QualityReport:
        """Judge as :meth:`quality` does, over another span if asked; tell what is still to come.

        A span is rounded up to whole minutes.
        """
        mature = self._cohorts.mature_until(now)
        start = self._start(mature, window_seconds or self._window_seconds)
        maturing = self._cohorts.between(model, mature, now)
        quality = self._between(model, start, mature)
        return QualityReport(
            model=model,
            quality=quality,
            maturing_predictions=round(maturing.predictions.count) if maturing else 0,
            maturing_clicks=round(maturing.clicks.count) if maturing else 0,
            sufficient_at=self._sufficient_at(model, start, mature, now)
            if maturing and quality.shortage
            else None,
            attribution_seconds=self._attribution_seconds,
            min_predictions=self._min_predictions,
        )

    @staticmethod
    def _start(end: int, seconds: float) -> int:
        # Clicks are kept by the minute: those of half a one are not known.
        return end - math.ceil(seconds / COHORT_SECONDS) * COHORT_SECONDS

    def _sufficient_at(
        self, model: ModelVersion, start: float, mature: int, now: float
    ) -> float | None:
        """Find the first minute up to which there is enough, and when it will be mature."""
        ends = range(mature + COHORT_SECONDS, math.ceil(now) + COHORT_SECONDS, COHORT_SECONDS)
        # From one start on counts only grow, so that halving finds the minute.
        first = bisect_left(
            ends, 1, key=lambda end: self._between(model, start, end).shortage is None
        )
        return ends[first] + self._attribution_seconds if first < len(ends) else None

    def _between(self, model: ModelVersion, start: float, end: float) -> Quality:
        cohort = self._cohorts.between(model, start, end) or _nothing(start, end)
        return Quality.of(cohort, min_predictions=self._min_predictions)


def _nothing(start: float, end: float) -> Cohort:
    return Cohort(
        start=start,
        end=end,
        predictions=HistogramCounts(
            bounds=np.array([]), cumulative=np.array([]), total=0.0, total_of_squares=0.0
        ),
        negative_log_complement=0.0,
        clicks=NO_CLICKS,
    )
