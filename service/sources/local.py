"""Snapshots of this host's workers."""

import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from service.monitoring.history import History, Tick
from service.monitoring.snapshot import Snapshot
from service.sources.errors import SourceUnavailableError
from service.sources.history_source import HistorySource
from service.telemetry.registry import FolderRegistry

_SET_BACK_SECONDS = 1.0
"""By less the clock may be set back: what is read of a minute changes by little."""


def store_now(source: HistorySource, history: History, boundary: float) -> Sequence[Tick]:
    """Read the counters and store them for the tick at ``boundary``, in Unix seconds.

    Raises:
        CountersUnavailableError: They cannot be read.
        SourceUnavailableError: The clock was set back.
    """
    tick = Tick(boundary, final=False, snapshot=source.snapshot())
    history.append(tick.tick, tick.snapshot)
    return [tick]


def local_source(
    registry: FolderRegistry, history: History, clock: Callable[[], float] = time.time
) -> HistorySource:
    """Make the source of this host: its workers, all of them, whichever one asks.

    After the clock was set back it gives no answer until the time is that of the newest row again.
    Two hours that are both called three to four are in no window of the clock: what was counted
    would be shown as that of a minute.
    """

    def read() -> Snapshot:
        newest = history.at_boundary(math.inf)
        reading = registry.snapshot(clock())
        if newest is not None and newest.epoch == reading.epoch:
            behind = newest.at - reading.at
            if behind > _SET_BACK_SECONDS:
                goes_on = datetime.fromtimestamp(newest.at, UTC).isoformat(" ", "seconds")
                raise SourceUnavailableError(
                    f"the clock was set back by {behind:.0f} s: until it says {goes_on} nothing "
                    "can be said of a span of time; predictions, clicks and /metrics go on"
                )
        return reading

    return HistorySource(read, history)
