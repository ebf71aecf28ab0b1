"""Ticks of one model version, from the stored history."""

from collections.abc import Iterator

from service.monitoring.counts import counts_of_version
from service.monitoring.drift.ticks import TICK_SECONDS, Ticks
from service.monitoring.history import History, Tick
from service.monitoring.window import Window, window_over


def windows_between(
    history: History, start: float, end: float, *, spacing_seconds: float
) -> Iterator[Window]:
    """Cut a span into adjacent windows at multiples of ``spacing_seconds``; a gap is one window.

    One at a time: a week of them at once would fill the memory.
    """
    rows: list[Tick] = []
    for row in history.ticks(start, end):
        rows.append(row)
        if not row.final and row.tick % spacing_seconds == 0:
            if len(rows) > 1:
                yield window_over([tick.snapshot for tick in rows])
            rows = [row]


def recorded_ticks(
    history: History, model: str, version: str, start: float, end: float
) -> Ticks | None:
    """Give what a model version did in each tick of a span; None where nothing is stored.

    Where the history was thinned a tick is a minute, and counts as four.
    """
    windows = windows_between(history, start, end, spacing_seconds=TICK_SECONDS)
    ticks = [
        Ticks.of(counts, end=window.end)
        for window in windows
        if (counts := counts_of_version(window.increases, model, version)) is not None
        and len(counts.predictions.bounds)
    ]
    return Ticks.joined(ticks) if ticks else None
