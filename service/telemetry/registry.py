"""What `/metrics` exposes and everything else is computed from: one registry over all workers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.monitoring import catalogue
from service.telemetry.folder import MetricsFolder, Totals


def registry_of(folder: MetricsFolder) -> CollectorRegistry:
    """Build a registry whose ``collect()`` reads the folder anew each time."""
    registry = CollectorRegistry()
    registry.register(_FolderCollector(folder))
    return registry


class _FolderCollector(Collector):
    def __init__(self, folder: MetricsFolder) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        return []  # So that registering does not read the folder.

    def collect(self) -> Iterator[Metric]:
        totals = self._folder.read()
        samples = _samples_by_metric(totals)
        samples[catalogue.COUNTERS_BEGAN.name] = [
            _Sample(catalogue.COUNTERS_BEGAN.name, {}, self._folder.began)
        ]
        samples[catalogue.UNREADABLE_FILES.name] = [
            _Sample(catalogue.UNREADABLE_FILES.name, {}, float(totals.unreadable_files))
        ]
        for entry in catalogue.CATALOGUE:
            family = Metric(_family_name(entry), entry.meaning, entry.kind)
            found = samples.get(family.name, [])
            for sample in _cumulative(family.name, found) if entry.bounds else found:
                family.add_sample(sample.name, sample.labels, sample.value)
            yield family


class _Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


@dataclass(slots=True)
class _Histogram:
    labels: dict[str, str]
    buckets: dict[float, float] = field(default_factory=dict)
    sum: float = 0.0


class _Key(NamedTuple):
    family: str
    name: str
    labels: dict[str, str]


@lru_cache(maxsize=65_536)
def _parsed(key: str) -> _Key:
    family, name, labels, _ = json.loads(key)
    return _Key(family, name, labels)


def _family_name(entry: catalogue.Metric) -> str:
    return entry.name.removesuffix("_total")


def _samples_by_metric(totals: Totals) -> dict[str, list[_Sample]]:
    samples: dict[str, list[_Sample]] = {}
    for series in totals.readings.values():
        for text, reading in sorted(series.items()):
            key = _parsed(text)
            samples.setdefault(key.family, []).append(
                _Sample(key.name, key.labels, reading.value),
            )
    return samples


def _cumulative(family: str, samples: list[_Sample]) -> Iterator[_Sample]:
    """Turn the buckets of each series, stored as counts of their own, into running totals."""
    histograms: dict[tuple[str, ...], _Histogram] = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        histogram = histograms.setdefault(tuple(labels.values()), _Histogram(labels))
        if "le" in sample.labels:
            histogram.buckets[float(sample.labels["le"])] = sample.value
        else:
            histogram.sum = sample.value
    for histogram in histograms.values():
        total = 0.0
        for bound, count in sorted(histogram.buckets.items()):
            total += count
            labels = histogram.labels | {"le": floatToGoString(bound)}
            yield _Sample(f"{family}_bucket", labels, total)
        yield _Sample(f"{family}_count", histogram.labels, total)
        yield _Sample(f"{family}_sum", histogram.labels, histogram.sum)
