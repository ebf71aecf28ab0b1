"""Readings of one counter, and what the history gives back of them."""

import math
from collections.abc import Sequence

from service.monitoring.history import History
from service.monitoring.snapshot import Series, Snapshot

SCOPE = "instance:host1"
SERVED = Series("ctr_requests_total", (("model", "xgboost"), ("outcome", "success")))
EVER = (-math.inf, math.inf)


def reading(at: float, *, epoch: float, served: float) -> Snapshot:
    return Snapshot(at=at, epoch=epoch, counters={SERVED: served}, gauges={})


def served(snapshots: Sequence[Snapshot]) -> list[float]:
    return [snapshot.counters[SERVED] for snapshot in snapshots]


def ticks_of(history: History) -> list[float]:
    return [row.tick for row in history.ticks(*EVER)]
