"""Cohorts: predictions from the history of counters, and the clicks on them from the state."""

from collections.abc import Iterator

from service.monitoring.clicks import COHORT_SECONDS, ClickSums, Cohort, cohort_minutes, minute_of
from service.monitoring.counts import ModelVersion, counts_of_version
from service.monitoring.window import Window
from service.sources.stored_windows import StoredWindows
from service.state.clicks import Clicks


class Cohorts:
    """The cohorts of one scope.

    Args:
        source: The scope's windows.
        clicks: The clicks of all scopes.
        origin: The instance whose predictions the scope counts; None where it counts all.
        attribution_seconds: After so long no click comes in for a prediction any more.
    """

    def __init__(
        self,
        *,
        source: StoredWindows,
        clicks: Clicks,
        origin: int | None,
        attribution_seconds: float,
    ) -> None:
        self._source = source
        self._clicks = clicks
        self._origin = origin
        self._attribution_seconds = attribution_seconds

    def mature_until(self, now: float) -> int:
        """End of the last minute whose clicks are complete, in Unix seconds."""
        return minute_of(now - self._attribution_seconds)

    def between(self, model: ModelVersion, start: float, end: float) -> Cohort | None:
        """Give one cohort of the predictions between two minutes, in Unix seconds.

        An end within a minute takes in what that minute has had so far. Its own ``start`` and
        ``end`` say what the history has of it.

        Returns:
            None where the history has nothing of the model version.
        """
        window = self._source.between(start, end)
        if window is None:
            return None
        first, after_last = cohort_minutes(window, end)
        return _cohort(
            model, window, self._clicks.sums(model, first, after_last, origin=self._origin)
        )

    def minutes(self, model: ModelVersion, start: float, end: float) -> Iterator[Cohort]:
        """Give a cohort for each minute between two, in order; a gap is one longer cohort."""
        by_minute = self._clicks.sums_by_minute(model, start, end, origin=self._origin)
        for window in self._source.minutes(start, end):
            first, after_last = cohort_minutes(window, minute_of(window.end))
            clicks = ClickSums.total(
                by_minute[minute]
                for minute in range(first, after_last, COHORT_SECONDS)
                if minute in by_minute
            )
            cohort = _cohort(model, window, clicks)
            if cohort is not None:
                yield cohort


def _cohort(model: ModelVersion, window: Window, clicks: ClickSums) -> Cohort | None:
    counts = counts_of_version(window.increases, model.model, model.version)
    if counts is None or not len(counts.predictions.bounds):
        return None
    return Cohort(
        start=window.start,
        end=window.end,
        predictions=counts.predictions,
        negative_log_complement=counts.negative_log_complement,
        clicks=clicks,
    )
