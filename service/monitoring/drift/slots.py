"""Ticks on a regular grid, however they came."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.drift.profile import SECONDS_PER_DAY
from service.monitoring.drift.ticks import TICK_SECONDS, Floats

PARTS = 8
"""Of the UTC day."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slots:
    """Tick means by slot, so that ticks lost or late do not shift the ones after them."""

    seconds: float
    place: NDArray[np.int64]
    """Of the slots in which something was observed, ascending, shape ``(s,)``."""
    part: NDArray[np.int64]
    """Which part of the UTC day, shape ``(s,)``."""
    weight: Floats
    """Shape ``(s,)``."""
    means: Floats
    """Shape ``(s, c)``."""

    @classmethod
    def of(cls, time: Floats, count: Floats, means: Floats) -> Self:
        """Take the median spacing for a slot, and the mean of the ticks that fall into one."""
        seconds = max(float(np.median(np.diff(time))), TICK_SECONDS) if len(time) > 1 else 1.0
        place, slot = np.unique(
            np.rint((time - time[0]) / seconds).astype(np.int64), return_inverse=True
        )
        size = np.bincount(slot, count)
        sums = np.zeros((len(place), means.shape[1]))
        np.add.at(sums, slot, np.where(count[:, None] > 0, count[:, None] * means, 0.0))
        kept = size > 0
        size = size[kept].astype(np.float64)
        at = time[0] + place[kept] * seconds
        return cls(
            seconds=seconds,
            place=place[kept],
            part=(at % SECONDS_PER_DAY // (SECONDS_PER_DAY / PARTS)).astype(np.int64),
            weight=np.asarray(size / max(float(size.sum()), 1.0) * len(size)),
            means=sums[kept] / size[:, None],
        )

    def apart(self, lag: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the slots that have one so much later, and of those."""
        late = np.searchsorted(self.place, self.place + lag)
        early = np.flatnonzero(np.append(self.place, -1)[late] == self.place + lag)
        return early, late[early]
