"""The history as a flat table: one row for each window of each run."""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.keeping.stored_runs import StoredRun
from bridge.points import metric_prefix
from service.monitoring.tracking import Point

# One column for each of these, then one for each metric.
RUN_COLUMNS = ("run_name", "model_name", "model_version", "arm", "source", "day")
WINDOW_COLUMNS = ("step", "window_start", "window_end")

_OF_DAYS = "day/"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """One window of one run."""

    run: StoredRun
    step: int
    start: datetime
    end: datetime
    numbers: Mapping[str, float]
    """Values by common name; what was not measured is not there."""

    @property
    def of_run(self) -> Sequence[str]:
        """Values of :data:`RUN_COLUMNS`; empty where a run has no such tag."""
        tags = self.run.tags
        labels = ("model_name", "model_version", "arm", "source", "ctr.day")
        return (self.run.name, *(tags.get(label, "") for label in labels))


def common_names(run: StoredRun) -> AbstractSet[str]:
    """Metrics of windows under the name that all models share."""
    prefix = metric_prefix(run.tags.get("model_name", ""))
    return {
        name
        for name in run.metric_names
        if not name.startswith(_OF_DAYS)
        and not (name.startswith(prefix) and name.removeprefix(prefix) in run.metric_names)
    }


def window_rows(run: StoredRun, points: Sequence[Point]) -> Sequence[WindowRow]:
    """Put the points of a run together by window, in order; NaN counts as missing."""
    seconds = int(run.tags.get("ctr.window", "0s").removesuffix("s"))
    windows: dict[tuple[int, int], dict[str, float]] = {}
    for point in sorted(points):
        numbers = windows.setdefault((point.step, point.timestamp_ms), {})
        if not math.isnan(point.value):
            numbers[point.name] = point.value
    return [
        WindowRow(
            run=run,
            step=step,
            start=datetime.fromtimestamp(end_ms / 1000 - seconds, tz=UTC),
            end=datetime.fromtimestamp(end_ms / 1000, tz=UTC),
            numbers=numbers,
        )
        for (step, end_ms), numbers in sorted(windows.items())
    ]
