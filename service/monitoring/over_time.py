"""What a model did over time: a span cut into adjacent steps at boundaries of the clock."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.monitoring.counts import counts_by_model
from service.monitoring.history import TICKS_KEPT_SECONDS
from service.monitoring.statistics import SECONDS_PER_MINUTE, ModelStatistics
from service.monitoring.window import Window

_MINUTE = 60
_STEPS_SECONDS = (
    *(1, 2, 5, 10, 15, 30, _MINUTE, 120, 300, 600, 900, 1800),
    *(3600 * hours for hours in (1, 2, 3, 4, 6, 12)),
)
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a span."""

    start: float
    """Unix seconds; true where anything is known of the step, else the boundary."""
    end: float
    models: Mapping[str, ModelStatistics]
    """By model; empty where nothing is known of the step."""


def step_seconds(span_seconds: float, points: int, *, interval_seconds: float) -> int:
    """Choose how long a step is: the shortest usual one that needs at most ``points`` of them.

    Args:
        span_seconds: What is to be cut, above 0.
        points: At least 1.
        interval_seconds: Between stored snapshots; divides a minute. A step is a multiple of it,
            and of a minute where the history is thinned.
    """
    unit = interval_seconds if span_seconds <= TICKS_KEPT_SECONDS else _MINUTE
    wanted = span_seconds / points
    usual = (step for step in _STEPS_SECONDS if step >= wanted and not step % unit)
    return next(usual, math.ceil(wanted / _DAY_SECONDS) * _DAY_SECONDS)


def boundaries(span_seconds: float, step: int, *, until: float) -> Sequence[float]:
    """Give where the steps begin: multiples of ``step``, of which the last one may go on.

    The same for every ``until`` within one step, so that a chart that is drawn again and again
    keeps its points.
    """
    after_last = math.ceil(until / step)
    first = min(math.ceil((until - span_seconds) / step), after_last - 1)
    return [float(number * step) for number in range(first, after_last)]


def steps(starts: Sequence[float], windows: Sequence[Window | None], *, until: float) -> list[Step]:
    """Compute the statistics of each step; one that has just begun has none yet and is left out.

    Args:
        starts: The boundaries at which the steps begin.
        windows: What happened in each; None where nothing is known of it.
        until: Where the last one ends, in Unix seconds.
    """
    ends = [*starts[1:], until]
    found = [
        Step(start=start, end=end, models={})
        if window is None
        else Step(start=window.start, end=window.end, models=_statistics(window))
        for start, end, window in zip(starts, ends, windows, strict=True)
    ]
    return found if len(found) == 1 or found[-1].models else found[:-1]


def _statistics(window: Window) -> Mapping[str, ModelStatistics]:
    return {
        model: ModelStatistics.of(
            model,
            counts,
            extremes=None,
            requests_per_minute=counts.requests / window.seconds * SECONDS_PER_MINUTE,
            window=window,
        )
        for model, counts in counts_by_model(window.increases).items()
    }
