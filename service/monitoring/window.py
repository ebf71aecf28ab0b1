"""What happened between two instants: exact differences of counters, never extrapolated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np

from service.monitoring.counters import NO_SERIES, Counters, Layout
from service.monitoring.snapshot import Series, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """The growth of every counter over a span of time."""

    start: float
    """True start in Unix seconds: when the reading at its beginning was taken."""
    end: float
    increases: Mapping[Series, float]
    instances: int = 1
    """Of how many instances this is the sum, at its end."""

    @property
    def seconds(self) -> float:
        """Length of the span."""
        return self.end - self.start


def window_over(snapshots: Sequence[Snapshot]) -> Window:
    """Growth from the first snapshot to the last.

    Within an epoch the growth is the difference. A later epoch began at zero, so its whole value
    is growth, also where it has already outgrown the old one. For this to be exact the sequence
    holds, between its ends, the last snapshot of each epoch that ended meanwhile.

    Args:
        snapshots: At least one, in order of time.

    Raises:
        ValueError: The sequence is empty.
    """
    if not snapshots:
        raise ValueError("a window needs at least one snapshot")
    counters = [Counters.of(snapshot.counters) for snapshot in snapshots]
    layout = reduce(Layout.joined, (its.layout for its in counters[1:]), NO_SERIES)
    growth = np.zeros(len(layout))
    for i, (before, after) in enumerate(pairwise(snapshots)):
        value = counters[i + 1]
        earlier = counters[i].in_order_of(value.layout) if before.epoch == after.epoch else 0.0
        # A counter falls within its epoch only while a metrics file is unreadable.
        growth[layout.places_of(value.layout)] += np.maximum(value.array - earlier, 0.0)
    return Window(
        start=snapshots[0].at,
        end=snapshots[-1].at,
        increases=Counters(layout, growth),
        instances=snapshots[-1].instances,
    )


def since_counters_began(snapshot: Snapshot) -> Window:
    """Everything that the snapshot's epoch has counted."""
    return Window(
        start=snapshot.epoch,
        end=snapshot.at,
        increases=snapshot.counters,
        instances=snapshot.instances,
    )
