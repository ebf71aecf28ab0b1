"""What `/metrics` exposes and everything else is computed from: the sum over all workers."""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from service.monitoring import catalogue
from service.monitoring.counts import ModelVersion
from service.monitoring.versions import retired_versions
from service.telemetry.folder import MetricsFolder, Totals
from service.telemetry.keys import parsed_key


def registry_of(folder: MetricsFolder, *, shown_only: bool = False) -> CollectorRegistry:
    """Build a registry whose ``collect()`` reads the folder anew each time.

    Args:
        folder: The files of all workers.
        shown_only: Leave out versions that are shown no longer; the history needs them.
    """
    registry = CollectorRegistry()
    registry.register(_FolderCollector(folder, shown_only=shown_only))
    return registry


class _FolderCollector(Collector):
    def __init__(self, folder: MetricsFolder, *, shown_only: bool) -> None:
        self._folder = folder
        self._shown_only = shown_only

    def describe(self) -> list[Metric]:
        return []  # So that registering does not read the folder.

    def collect(self) -> Iterator[Metric]:
        totals = self._folder.read()
        samples = _samples_by_family(totals)
        samples[catalogue.COUNTERS_BEGAN.name] = [
            _Sample(catalogue.COUNTERS_BEGAN.name, {}, self._folder.began)
        ]
        samples[catalogue.UNREADABLE_FILES.name] = [
            _Sample(catalogue.UNREADABLE_FILES.name, {}, float(totals.unreadable_files))
        ]
        served = {_version(info) for info in samples[catalogue.MODEL_INFO.name] if info.value}
        counted = map(_version, samples[_family_name(catalogue.REQUESTS)])
        retired = retired_versions(counted, served) if self._shown_only else ()
        for entry in catalogue.CATALOGUE:
            family = Metric(_family_name(entry), entry.meaning, entry.kind)
            found = samples.get(family.name, [])
            if served and _is_of_the_served(entry):
                found = [sample for sample in found if _version(sample) in served]
            if retired and "version" in entry.labels:
                found = [sample for sample in found if _version(sample) not in retired]
            for sample in _cumulative(family.name, found) if entry.bounds else found:
                # Not a number is a gauge that has become absent.
                if not math.isnan(sample.value):
                    family.add_sample(sample.name, sample.labels, sample.value)
            yield family


class _Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float
    identity: tuple[str, ...] = ()
    """Label values without the bucket's bound."""
    bound: float | None = None


@dataclass(slots=True)
class _Histogram:
    buckets: list[_Sample] = field(default_factory=list)
    sum: _Sample | None = None


def _family_name(entry: catalogue.Metric) -> str:
    return entry.name.removesuffix("_total")


def _is_of_the_served(entry: catalogue.Metric) -> bool:
    """Whether a metric says how a version is: of one that was replaced it would stand for ever."""
    infos = (catalogue.MODEL_INFO, catalogue.MODEL_EVALUATOR)
    about_now = entry in infos or entry.merge is catalogue.Merge.LATEST
    return about_now and "version" in entry.labels


def _version(sample: _Sample) -> ModelVersion:
    return ModelVersion(sample.labels["model"], sample.labels["version"])


def _samples_by_family(totals: Totals) -> dict[str, list[_Sample]]:
    samples: defaultdict[str, list[_Sample]] = defaultdict(list)
    for series in totals.readings.values():
        for text in sorted(series):
            key = parsed_key(text)
            value, _ = series[text]
            samples[key.family].append(
                _Sample(key.name, key.labels, value, key.identity, key.bound)
            )
    return samples


def _cumulative(family: str, samples: list[_Sample]) -> Iterator[_Sample]:
    """Turn the buckets of each series, stored as counts of their own, into running totals."""
    histograms: defaultdict[tuple[str, ...], _Histogram] = defaultdict(_Histogram)
    for sample in samples:
        histogram = histograms[sample.identity]
        if sample.bound is None:
            histogram.sum = sample
        else:
            histogram.buckets.append(sample)
    for histogram in histograms.values():
        if histogram.sum is None:
            continue  # its worker is creating it at this moment
        total = 0.0
        for bucket in sorted(histogram.buckets, key=_bound):
            total += bucket.value
            yield _Sample(bucket.name, bucket.labels, total)
        yield _Sample(f"{family}_count", histogram.sum.labels, total)
        yield histogram.sum


def _bound(bucket: _Sample) -> float:
    return math.inf if bucket.bound is None else bucket.bound
