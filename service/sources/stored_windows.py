"""Windows that lie wholly in the stored history."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from service.monitoring.history import History
from service.monitoring.snapshot import Snapshot
from service.monitoring.window import Window, window_over
from service.sources.recorded_ticks import windows_between

_SECONDS_PER_MINUTE = 60


class StoredWindows:
    """The past of one host or of a fleet."""

    def __init__(self, history: History) -> None:
        self._history = history

    def between(self, start: float, end: float) -> Window | None:
        """Give the window between two boundaries of the clock, in Unix seconds.

        Where there is no row at a boundary, the nearest earlier one takes its place; where the
        history begins later than ``start``, the window does: with the counters, if it knows when
        they began.

        Returns:
            None where nothing is stored of it.
        """
        until = self._history.at_boundary(end)
        first = self._history.at_boundary(start)
        if until is None or (first is not None and first.at >= until.at):
            return None
        rows = self.rows(start if first is None else first.at, until)
        if first is None and rows[0].epoch >= start:
            rows.insert(0, _beginning(rows[0]))
        return window_over(rows)

    def adjacent(self, boundaries: Sequence[float], *, until: float) -> list[Window | None]:
        """Cut at boundaries of the clock; the last window ends with what is stored by ``until``.

        Each row is read once, however many windows there are.

        Returns:
            A window for each boundary, which begins there; None where nothing was stored since.
        """
        rows = [self._history.at_boundary(time) for time in (*boundaries, until)]
        return [self._step(before, after) for before, after in pairwise(rows)]

    def newest(self) -> Snapshot | None:
        """Give the newest row; None where nothing is stored."""
        return self._history.at_boundary(math.inf)

    def _step(self, before: Snapshot | None, after: Snapshot | None) -> Window | None:
        if after is None:
            return None
        if before is None:  # History begins within the step.
            rows = self.rows(-math.inf, after)
        elif before.at >= after.at:
            return None
        else:
            rows = [before, after] if before.epoch == after.epoch else self.rows(before.at, after)
        window = window_over(rows)
        # The zeros that a life begins with are no window.
        return window if window.seconds > 0 else None

    def minutes(self, start: float, end: float) -> Iterator[Window]:
        """Cut the span between two boundaries into adjacent windows of whole minutes.

        A gap is one longer window.
        """
        return windows_between(self._history, start, end, spacing_seconds=_SECONDS_PER_MINUTE)

    def rows(self, start: float, until: Snapshot) -> list[Snapshot]:
        """Give the snapshots between which counters grew from ``start`` on; ``until`` is last."""
        rows = [*self._history.window_rows(start, until), until]
        if len(rows) > 1 and rows[0].epoch != rows[1].epoch:
            # The wanted start lies between two lives: the window begins with the later one.
            rows[0] = _beginning(rows[1])
        return rows


def _beginning(first: Snapshot) -> Snapshot:
    return Snapshot(at=first.epoch, epoch=first.epoch, counters={}, gauges={})
