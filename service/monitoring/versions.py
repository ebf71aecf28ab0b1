"""Which versions of a model are shown: nightly releases must not grow what is scraped for ever."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from service.monitoring import catalogue
from service.monitoring.counters import Counters, Layout, Places
from service.monitoring.counts import ModelVersion, version_of
from service.monitoring.snapshot import Series

SHOWN_VERSIONS = 3


def retired_versions(
    counted: Iterable[ModelVersion], served: Collection[ModelVersion]
) -> frozenset[ModelVersion]:
    """Name the versions that are shown no longer.

    They are not served, and not among the ``SHOWN_VERSIONS`` newest of their model. What they
    counted stays in the history.
    """
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for model, version in counted:
        versions[model].add(version)
    return frozenset(
        ModelVersion(model, version)
        for model, found in versions.items()
        # Versions are named by the time of training.
        for version in sorted(found, reverse=True)[SHOWN_VERSIONS:]
        if (model, version) not in served
    )


def shown(
    counters: Mapping[Series, float], gauges: Mapping[Series, float]
) -> Mapping[Series, float]:
    """Leave out the counters of versions that are shown no longer."""
    every = Counters.of(counters)
    retired = retired_versions(every.layout.once(_versions), served_versions(gauges))
    return every.part(*every.layout.once(_part_without, retired)) if retired else counters


def _versions(series: Sequence[Series]) -> frozenset[ModelVersion]:
    return frozenset(version for version in map(version_of, series) if version)


def _part_without(
    series: Sequence[Series], retired: frozenset[ModelVersion]
) -> tuple[Layout, Places]:
    places = [place for place, its in enumerate(series) if version_of(its) not in retired]
    return Layout(series[place] for place in places), np.array(places, dtype=np.intp)


def served_versions(gauges: Mapping[Series, float]) -> frozenset[ModelVersion]:
    """Name the versions that somebody serves, by :data:`catalogue.MODEL_INFO`."""
    found = (
        version_of(series)
        for series, value in gauges.items()
        if series.name == catalogue.MODEL_INFO.name and value > 0
    )
    return frozenset(version for version in found if version)
