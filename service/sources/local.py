"""Snapshots of this host's workers."""

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from service.monitoring import catalogue
from service.monitoring.history import History, Tick
from service.monitoring.snapshot import Series, Snapshot
from service.sources.history_source import HistorySource


def snapshot_of(registry: CollectorRegistry, now: float) -> Snapshot:
    """Read every sample of a registry at ``now``, in Unix seconds."""
    counters: dict[Series, float] = {}
    gauges: dict[Series, float] = {}
    for family in registry.collect():
        target = gauges if family.type == "gauge" else counters
        for sample in family.samples:
            target[Series(sample.name, tuple(sorted(sample.labels.items())))] = sample.value
    epoch = gauges[Series(catalogue.COUNTERS_BEGAN.name, ())]
    return Snapshot(at=now, epoch=epoch, counters=counters, gauges=gauges)


def store_now(source: HistorySource, history: History, boundary: float) -> Sequence[Tick]:
    """Read the counters and store them for the tick at ``boundary``, in Unix seconds."""
    tick = Tick(boundary, final=False, snapshot=source.snapshot())
    history.append(tick.tick, tick.snapshot)
    return [tick]


def local_source(
    registry: CollectorRegistry, history: History, clock: Callable[[], float] = time.time
) -> HistorySource:
    """Make the source of this host: its workers, all of them, whichever one asks."""
    return HistorySource(lambda: snapshot_of(registry, clock()), history)
