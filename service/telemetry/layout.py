"""Where every exposed sample is found among the merged values.

Which series exist changes rarely, their values all the time: what follows from the keys alone is
worked out once, and a reading is a few array operations.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Metric

from service.monitoring import catalogue, counters
from service.monitoring.counts import ModelVersion
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.versions import retired_versions
from service.telemetry.keys import SeriesKey, parsed_key


class _Placed(NamedTuple):
    """A series and where its value is."""

    key: SeriesKey
    place: int


class Sample(NamedTuple):
    """A line of the exposition without its value."""

    name: str
    labels: dict[str, str]
    """Shared by all who ask: not to be changed."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """All series by family.

    Values are those of the keys in order, then when the counters began, then how many files were
    unreadable.
    """

    keys: tuple[tuple[str, ...], ...]
    by_family: Mapping[str, Sequence[_Placed]]

    @classmethod
    def of(cls, keys: tuple[tuple[str, ...], ...]) -> Self:
        """Sort the keys of every kind of file into families."""
        by_family: defaultdict[str, list[_Placed]] = defaultdict(list)
        start = 0
        for part in keys:
            for text, place in sorted(zip(part, range(start, start + len(part)), strict=True)):
                key = parsed_key(text)
                by_family[key.family].append(_Placed(key, place))
            start += len(part)
        for place, metric in enumerate(
            (catalogue.COUNTERS_BEGAN, catalogue.UNREADABLE_FILES), start
        ):
            key = SeriesKey("", metric.name, metric.name, {}, (), None)
            by_family[metric.name] = [_Placed(key, place)]
        return cls(keys, by_family)

    def served(self, values: NDArray[np.float64]) -> frozenset[ModelVersion]:
        """Name the versions that a worker serves."""
        info = self.by_family.get(catalogue.MODEL_INFO.name, ())
        return frozenset(_version(key) for key, place in info if values[place])


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The samples of a registry, those of absent gauges included."""

    index: Index
    served: frozenset[ModelVersion]
    samples: Sequence[Sequence[Sample]]
    """Of each metric of the catalogue."""
    places: NDArray[np.int64]
    """Of their values."""
    histograms: Sequence[NDArray[np.int64]]
    """Samples that are running totals: in each row those of the buckets in ascending order, then
    that of the count. One table for each number of buckets."""

    @classmethod
    def of(cls, index: Index, served: frozenset[ModelVersion], *, shown_only: bool) -> Self:
        """Choose the samples and put them in order.

        Args:
            index: All series.
            served: The versions that a worker serves.
            shown_only: Leave out versions that are shown no longer.
        """
        requests = index.by_family.get(_family_name(catalogue.REQUESTS), ())
        counted = (_version(key) for key, _ in requests)
        retired = retired_versions(counted, served) if shown_only else ()
        samples: list[list[Sample]] = []
        places: list[int] = []
        rows: defaultdict[int, list[range]] = defaultdict(list)
        for entry in catalogue.CATALOGUE:
            family = _family_name(entry)
            found = index.by_family.get(family, ())
            if served and _is_of_the_served(entry):
                found = [one for one in found if _version(one.key) in served]
            if retired and "version" in entry.labels:
                found = [one for one in found if _version(one.key) not in retired]
            if entry.bounds:
                histograms = list(_histograms(found))
                for buckets, of_sum in histograms:
                    end = len(places) + len(buckets) + 1
                    rows[len(buckets)].append(range(len(places), end))
                    places += [*(one.place for one in buckets), buckets[-1].place, of_sum.place]
                samples.append(list(chain(*(_lines(family, *one) for one in histograms))))
            else:
                places += (one.place for one in found)
                samples.append([Sample(key.name, key.labels) for key, _ in found])
        tables = [np.array(table, dtype=np.int64) for table in rows.values()]
        return cls(index, served, samples, np.array(places, dtype=np.int64), tables)

    def exposed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Find the value of every sample; not a number is a gauge that has become absent."""
        found = values[self.places]
        for table in self.histograms:
            totals = found[table[:, :-1]].cumsum(axis=1)
            found[table[:, :-1]] = totals
            found[table[:, -1]] = totals[:, -1]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The samples of a registry that have a value."""

    layout: Layout
    present: bytes
    """Which samples of the layout are on it, as a boolean array."""
    samples: Sequence[Sequence[Sample]]
    """Of each metric of the catalogue."""
    counters: counters.Layout
    counter_places: NDArray[np.int64]
    gauges: Sequence[Series]
    gauge_places: NDArray[np.int64]

    @classmethod
    def of(cls, layout: Layout, present: NDArray[np.bool_], *, before: "Page | None") -> Self:
        """Leave out the samples that are not ``present``, shape ``(samples,)``.

        What the page ``before`` knows of the same counters is kept: gauges come and go.
        """
        flags = iter(present.tolist())
        samples = [
            list(compress(family, [next(flags) for _ in family])) for family in layout.samples
        ]
        gauge = [
            entry.kind == "gauge"
            for entry, family in zip(catalogue.CATALOGUE, samples, strict=True)
            for _ in family
        ]
        series = [Series(name, tuple(sorted(labels.items()))) for name, labels in chain(*samples)]
        counted = tuple(one for one, is_gauge in zip(series, gauge, strict=True) if not is_gauge)
        known = before is not None and before.counters.series == counted
        return cls(
            layout,
            present.tobytes(),
            samples,
            counters=before.counters if before and known else counters.Layout(counted),
            counter_places=np.flatnonzero(~np.array(gauge)),
            gauges=list(compress(series, gauge)),
            gauge_places=np.flatnonzero(gauge),
        )

    def families(self, values: NDArray[np.float64]) -> Iterator[Metric]:
        """Give prometheus_client's families; ``values`` are those of the samples in order."""
        listed = iter(values.tolist())
        for entry, samples in zip(catalogue.CATALOGUE, self.samples, strict=True):
            family = Metric(_family_name(entry), entry.meaning, entry.kind)
            for name, labels in samples:
                family.add_sample(name, labels, next(listed))
            yield family

    def snapshot(self, values: NDArray[np.float64], at: float, epoch: float) -> Snapshot:
        """Give the same as a snapshot that was read at ``at``, in Unix seconds."""
        gauges = values[self.gauge_places].tolist()
        return Snapshot(
            at=at,
            epoch=epoch,
            counters=counters.Counters(self.counters, values[self.counter_places]),
            gauges=dict(zip(self.gauges, gauges, strict=True)),
        )


def _family_name(entry: catalogue.Metric) -> str:
    return entry.name.removesuffix("_total")


def _is_of_the_served(entry: catalogue.Metric) -> bool:
    """Whether a metric says how a version is: of one that was replaced it would stand for ever."""
    infos = (catalogue.MODEL_INFO, catalogue.MODEL_EVALUATOR)
    about_now = entry in infos or entry.merge is catalogue.Merge.LATEST
    return about_now and "version" in entry.labels


def _version(key: SeriesKey) -> ModelVersion:
    return ModelVersion(key.labels["model"], key.labels["version"])


def _histograms(placed: Sequence[_Placed]) -> Iterator[tuple[Sequence[_Placed], _Placed]]:
    """Give buckets in ascending order and the sum of each histogram."""
    buckets: defaultdict[tuple[str, ...], list[tuple[float, _Placed]]] = defaultdict(list)
    sums: dict[tuple[str, ...], _Placed] = {}
    for one in placed:
        if one.key.bound is None:
            sums[one.key.identity] = one
        else:
            buckets[one.key.identity].append((one.key.bound, one))
    for identity, found in buckets.items():
        # Without a sum its worker is creating it at this moment.
        if identity in sums:
            yield [one for _, one in sorted(found)], sums[identity]


def _lines(family: str, buckets: Sequence[_Placed], of_sum: _Placed) -> Iterator[Sample]:
    for key, _ in buckets:
        yield Sample(key.name, key.labels)
    yield Sample(f"{family}_count", of_sum.key.labels)
    yield Sample(of_sum.key.name, of_sum.key.labels)
