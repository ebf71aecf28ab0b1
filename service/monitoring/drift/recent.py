"""Sums over the recent past at any depth, in little memory: older ticks are kept in longer runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.monitoring.drift.ticks import Floats

_RUNS_PER_LENGTH = 6
"""Two runs of a length are joined when there are more: a start is known to about a fifth."""
_LONGEST = 14
"""Joined no further beyond 2**14 ticks; what is older is forgotten."""

Run = tuple[float, ...]
"""Number of ticks, then the sums."""


@dataclass(slots=True)
class RecentSums:
    """An exponential histogram: a few runs of 1 tick, of 2, of 4, and so on.

    Source: Datar, Gionis, Indyk, Motwani, "Maintaining stream statistics over sliding windows"
    (2002). A working copy of the detector's fold; its content is plain numbers.
    """

    levels: list[list[Run]]
    """By doubling length, each oldest first."""

    def add(self, sums: Sequence[float]) -> None:
        """Take in one tick."""
        run: Run = (1.0, *sums)
        for level in self.levels:
            level.append(run)
            if len(level) <= _RUNS_PER_LENGTH:
                return
            first, second = level.pop(0), level.pop(0)
            run = tuple(map(float.__add__, first, second))
        if len(self.levels) < _LONGEST:
            self.levels.append([run])

    def since(self) -> Floats:
        """Sums from every possible start until now, latest start first, shape ``(r, 1 + k)``."""
        runs = [run for level in self.levels for run in reversed(level)]
        return np.cumsum(np.array(runs), axis=0) if runs else np.zeros((0, 1))
