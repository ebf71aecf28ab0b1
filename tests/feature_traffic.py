"""Counters of features that a test adds to, as the registry and its history would show them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import Window, since_counters_began, window_over

Counts = Mapping[tuple[str, str], float]


@dataclass
class CountedFeatures:
    """A source of one model's counters."""

    model: str
    version: str
    rows: list[Snapshot] = field(default_factory=list)

    def serve(
        self, ticks: Iterable[tuple[float, Counts]], *, epoch: float = 0.0
    ) -> Iterator[Snapshot]:
        """Add tick after tick and give the snapshot after each."""
        for end, counts in ticks:
            before = self.rows[-1].counters if self.rows and self.rows[-1].epoch == epoch else {}
            grown = {self._series(*key): count for key, count in counts.items()}
            after = {series: before.get(series, 0.0) + count for series, count in grown.items()}
            self.rows.append(Snapshot(at=end, epoch=epoch, counters={**before, **after}, gauges={}))
            yield self.rows[-1]

    def snapshot(self) -> Snapshot:
        return self.rows[-1]

    def window(self, seconds: float, *, until: Snapshot) -> Window:
        start = until.at - seconds
        earlier = [row for row in self.rows if row.at <= start][-1:]
        between = [row for row in self.rows if start < row.at <= until.at]
        return window_over([*earlier, *between]) if earlier else since_counters_began(until)

    def _series(self, feature: str, value: str) -> Series:
        labels = {
            "model": self.model,
            "version": self.version,
            "feature": feature,
            "value": value,
        }
        return Series("ctr_feature_values_total", tuple(sorted(labels.items())))
