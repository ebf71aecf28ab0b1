"""What each model version did in a slot, from the stored history."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.windows import Slot
from service.monitoring.counts import (
    ModelCounts,
    ModelVersion,
    counts_by_model,
    counts_of_version,
)
from service.monitoring.history import History
from service.monitoring.snapshot import Snapshot
from service.monitoring.window import Window, window_over


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlotContent:
    """A slot in which the service ran."""

    window: Window
    """Growth of all counters, with the true start and end."""
    last: Snapshot
    """At the end of the slot."""
    by_version: Mapping[ModelVersion, ModelCounts]
    """Of every version that was served or did anything."""


class SlotReader:
    """Cuts the history into slots whose sums telescope: neighbours share a snapshot."""

    def __init__(self, history: History) -> None:
        self._history = history

    def read(self, slot: Slot) -> SlotContent | None:
        """Give what happened in a slot; None where the service did not run."""
        rows = [
            row.snapshot
            for row in self._history.ticks(math.nextafter(slot.start, math.inf), slot.end)
        ]
        if not rows:
            return None
        before = self._history.at_boundary(slot.start)
        if before is not None and before.epoch == rows[0].epoch:
            rows.insert(0, before)
        elif before is not None or rows[0].epoch >= slot.start:
            rows.insert(0, _beginning(rows[0]))
        window = window_over(rows)
        return SlotContent(window=window, last=rows[-1], by_version=_by_version(window))

    def model_counts(self, content: SlotContent, seconds: float) -> Mapping[str, ModelCounts]:
        """What each model did in the ``seconds`` before the end of a slot."""
        end = content.last
        rows = [*self._history.window_rows(end.at - seconds, end), end]
        return counts_by_model(window_over(rows).increases)


def _beginning(first: Snapshot) -> Snapshot:
    """Where a life began; its stored beginning may have been thinned away."""
    return Snapshot(at=first.epoch, epoch=first.epoch, counters={}, gauges={})


def _by_version(window: Window) -> Mapping[ModelVersion, ModelCounts]:
    found: dict[ModelVersion, ModelCounts] = {}
    newest: dict[str, str] = {}
    versions = {
        ModelVersion(labels["model"], labels["version"])
        for series in window.increases
        if "version" in (labels := dict(series.labels))
    }
    for model, version in sorted(versions):
        counts = counts_of_version(window.increases, model, version)
        if counts is not None and len(counts.durations.bounds):
            found[ModelVersion(model, version)] = counts
            newest[model] = version  # Versions are named by the time of training.
    return {
        key: counts
        for key, counts in found.items()
        if counts.requests or newest[key.model] == key.version
    }
