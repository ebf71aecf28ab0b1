"""Windows that end with a reading of now and begin in the stored history."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from service.monitoring.counters import Counters, Layout
from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.history import TICKS_KEPT_SECONDS, History
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import Window, since_counters_began, window_over
from service.sources.recorded_ticks import windows_between
from service.sources.stored_windows import StoredWindows

_SECONDS_PER_HOUR = 3600
_SECONDS_PER_MINUTE = 60
_LAYOUTS_REMEMBERED = 4


class HistorySource(StoredWindows):
    """One host or a fleet: whatever can be read now and has a history."""

    def __init__(self, read: Callable[[], Snapshot], history: History) -> None:
        super().__init__(history)
        self._read = read
        self._layouts: tuple[Layout, ...] = ()
        # One answer asks for the same windows again and again; they go when its reading does.
        self._windows: WeakKeyDictionary[Snapshot, dict[float, Window]] = WeakKeyDictionary()

    def snapshot(self) -> Snapshot:
        """Read the counters now."""
        reading = self._read()
        return replace(reading, counters=self._laid_out(reading.counters))

    def window(self, seconds: float, *, until: Snapshot) -> Window:
        """Give the window that ends with ``until``, from the history's nearest earlier row."""
        windows = self._windows.setdefault(until, {})
        if seconds not in windows:
            windows[seconds] = self._since(until.at - seconds, until)
        return windows[seconds]

    def _since(self, start: float, until: Snapshot) -> Window:
        rows = self.rows(start, until)
        return window_over(rows) if len(rows) > 1 else since_counters_began(until)

    def _laid_out(self, counters: Mapping[Series, float]) -> Counters:
        """Let readings of the same series share a layout, so that what it implies is kept."""
        if isinstance(counters, Counters):
            return counters
        series = tuple(counters)
        layout = next((known for known in self._layouts if known.series == series), None)
        if layout is None:
            layout = Layout(series)
            # Of the last releases; several threads may find the same layout, and one is kept.
            self._layouts = (layout, *self._layouts[: _LAYOUTS_REMEMBERED - 1])
        return Counters(layout, np.fromiter(counters.values(), np.float64, len(series)))

    def hourly_windows(self, seconds: float) -> Sequence[Window]:
        """Cut the last ``seconds`` into adjacent windows at the full hours of the clock."""
        now = self.snapshot()
        start = now.at - seconds
        first_hour = math.floor(start / _SECONDS_PER_HOUR) + 1
        hours = range(first_hour, math.ceil(now.at / _SECONDS_PER_HOUR))
        stored = (self._history.at_boundary(hour * _SECONDS_PER_HOUR) for hour in hours)
        windows: list[Window] = []
        for end in (*(row for row in stored if row is not None), now):
            window = self.window(end.at - start, until=end)
            windows.append(window)
            start = end.at
        return windows

    def tick_windows(self, seconds: float) -> Iterator[Window]:
        """Cut the last ``seconds`` into adjacent windows of one length, as fine as history allows.

        Drift ticks where all of them are kept, minutes beyond; a gap is one longer window.
        """
        now = self.snapshot().at
        spacing = TICK_SECONDS if seconds <= TICKS_KEPT_SECONDS else _SECONDS_PER_MINUTE
        return windows_between(self._history, now - seconds, now, spacing_seconds=spacing)
