"""Snapshots of this host's workers."""

import time
from collections.abc import Callable, Sequence

from service.monitoring.history import History, Tick
from service.sources.history_source import HistorySource
from service.telemetry.registry import FolderRegistry


def store_now(source: HistorySource, history: History, boundary: float) -> Sequence[Tick]:
    """Read the counters and store them for the tick at ``boundary``, in Unix seconds."""
    tick = Tick(boundary, final=False, snapshot=source.snapshot())
    history.append(tick.tick, tick.snapshot)
    return [tick]


def local_source(
    registry: FolderRegistry, history: History, clock: Callable[[], float] = time.time
) -> HistorySource:
    """Make the source of this host: its workers, all of them, whichever one asks."""
    return HistorySource(lambda: registry.snapshot(clock()), history)
