"""Which versions of a model are shown: nightly releases must not grow what is scraped for ever."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from service.monitoring import catalogue
from service.monitoring.counts import ModelVersion
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
    of_series = {series: _version(series) for series in counters}
    retired = retired_versions(
        (version for version in of_series.values() if version),
        served_versions(gauges),
    )
    if not retired:
        return counters
    return {s: value for s, value in counters.items() if of_series[s] not in retired}


def served_versions(gauges: Mapping[Series, float]) -> frozenset[ModelVersion]:
    """Name the versions that somebody serves, by :data:`catalogue.MODEL_INFO`."""
    found = (
        _version(series)
        for series, value in gauges.items()
        if series.name == catalogue.MODEL_INFO.name and value > 0
    )
    return frozenset(version for version in found if version)


def _version(series: Series) -> ModelVersion | None:
    labels = dict(series.labels)
    if "model" in labels and "version" in labels:
        return ModelVersion(labels["model"], labels["version"])
    return None
