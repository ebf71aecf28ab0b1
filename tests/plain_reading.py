"""A metrics folder read in the plainest way, with nothing kept from one reading to the next.

prometheus_client's own reader opens every file, Python adds up one series after the other. What the
service reads, quickly, must be the same.
"""

import fcntl
import json
import math
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.registry import Collector

from service.monitoring import catalogue
from service.monitoring.counts import ModelVersion
from service.monitoring.versions import retired_versions

Reading = tuple[float, float]
"""A value and when it was written."""
Label = tuple[tuple[str, str], ...]
_SHORTEST_ENTRY = 24


def plain_registry(folder: Path, *, shown_only: bool = False) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Plain(folder, shown_only=shown_only))
    return registry


class _Plain(Collector):
    def __init__(self, folder: Path, *, shown_only: bool) -> None:
        self._folder = folder
        self._shown_only = shown_only

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        series, unreadable = _read(self._folder)
        series[catalogue.COUNTERS_BEGAN.name] = [
            (catalogue.COUNTERS_BEGAN.name, {}, int(self._folder.name) / 1000)
        ]
        series[catalogue.UNREADABLE_FILES.name] = [
            (catalogue.UNREADABLE_FILES.name, {}, float(unreadable))
        ]
        served = {_version(labels) for _, labels, value in series["ctr_model_info"] if value}
        counted = [_version(labels) for _, labels, _ in series["ctr_requests"]]
        retired = retired_versions(counted, served) if self._shown_only else ()
        for entry in catalogue.CATALOGUE:
            family = Metric(entry.name.removesuffix("_total"), entry.meaning, entry.kind)
            found = series.get(family.name, [])
            versioned = "version" in entry.labels
            infos = {catalogue.MODEL_INFO.name, catalogue.MODEL_EVALUATOR.name}
            about_now = entry.name in infos or entry.merge is catalogue.Merge.LATEST
            if versioned and about_now and served:
                found = [one for one in found if _version(one[1]) in served]
            if versioned:
                found = [one for one in found if _version(one[1]) not in retired]
            for name, labels, value in _running_totals(found) if entry.bounds else found:
                if not math.isnan(value):
                    family.add_sample(name, labels, value)
            yield family


Found = tuple[str, dict[str, str], float]


def _version(labels: Mapping[str, str]) -> ModelVersion:
    return ModelVersion(labels["model"], labels["version"])


def _read(folder: Path) -> tuple[defaultdict[str, list[Found]], int]:
    merged: dict[str, dict[str, Reading]] = defaultdict(dict)
    unreadable, folded = 0, []
    fold = folder / "folded.json"
    if fold.exists():
        content = json.loads(fold.read_text())
        folded = content["files"]
        for kind, series in content["readings"].items():
            merged[kind].update({key: (value, at) for key, (value, at) in series.items()})
    for file in sorted(folder.glob("*_*.db")):
        kind, _, worker = file.stem.rpartition("_")
        dies_with_it = kind in {"gauge_livesum", "gauge_livemax"}
        if file.name in folded or (dies_with_it and not _alive(folder / f"{worker}.lock")):
            continue
        try:
            stored = _stored(file)
        except (struct.error, RuntimeError, ValueError):
            unreadable += 1
            continue
        for key, new in stored:
            old = merged[kind].get(key)
            merged[kind][key] = new if old is None else _merged(kind, old, new)
    found: defaultdict[str, list[Found]] = defaultdict(list)
    for series in merged.values():
        for key in sorted(series):
            family, name, labels, _ = json.loads(key)
            found[family].append((name, labels, series[key][0]))
    return found, unreadable


def _stored(file: Path) -> list[tuple[str, Reading]]:
    if int.from_bytes(file.read_bytes()[:4], "little", signed=True) < 8:
        raise ValueError("the header is damaged")
    entries = MmapedDict.read_all_values_from_file(str(file))
    # Damage can make the reader go round in circles.
    bounded = islice(entries, 1 + file.stat().st_size // _SHORTEST_ENTRY)
    found = [(key, (value, at)) for key, value, at, _ in bounded]
    for key, _ in found:
        json.loads(key)
    return found


def _merged(kind: str, old: Reading, new: Reading) -> Reading:
    match kind:
        case "gauge_min":
            return min(old, new)
        case "gauge_max" | "gauge_livemax":
            return max(old, new)
        case "gauge_mostrecent":
            return new if new[1] > old[1] else old
        case _:
            return old[0] + new[0], max(old[1], new[1])


def _alive(lock: Path) -> bool:
    with lock.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _running_totals(found: Sequence[Found]) -> Iterator[Found]:
    histograms: defaultdict[Label, list[Found]] = defaultdict(list)
    for one in found:
        histograms[tuple((k, v) for k, v in one[1].items() if k != "le")].append(one)
    for series in histograms.values():
        buckets = sorted(
            (one for one in series if "le" in one[1]), key=lambda one: float(one[1]["le"])
        )
        [(of_sum, labels, total)] = [one for one in series if "le" not in one[1]]
        count = 0.0
        for name, of_bucket, own in buckets:
            count += own
            yield name, of_bucket, count
        yield of_sum.removesuffix("_sum") + "_count", labels, count
        yield of_sum, labels, total
