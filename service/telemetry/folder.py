"""The metrics folder of one epoch: the sum over all its workers, dead ones included.

What prometheus_client's own reader lacks is here: an unreadable file is left out and counted
instead of failing every scrape, gauges of dead workers are dropped, and the files of dead workers
are folded into one so that the folder does not grow with every crash.
"""

import fcntl
import json
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from prometheus_client.mmap_dict import MmapedDict

from service.monitoring.catalogue import Merge
from service.telemetry.keys import parsed_key
from service.telemetry.series import WorkerFiles

_FOLDED = "folded.json"
_FOLD_LOCK = "fold.lock"
_LIVE = {f"gauge_{Merge.LIVE_SUM}", f"gauge_{Merge.LIVE_MAX}"}
_HEADER_BYTES = 8
_ENTRY_BYTES = 24
"""No entry is shorter."""
_UNREADABLE = (OSError, struct.error, RuntimeError, ValueError)


class Reading(NamedTuple):
    """A value and when it was written, in Unix seconds."""

    value: float
    timestamp: float


@dataclass(slots=True)
class Totals:
    """Values of all series by kind of file and key, merged over workers."""

    readings: dict[str, dict[str, Reading]] = field(default_factory=dict)
    unreadable_files: int = 0

    @property
    def last_written(self) -> float:
        """When a worker last wrote anything, in Unix seconds; 0 where none ever did."""
        return max(
            (r.timestamp for series in self.readings.values() for r in series.values()), default=0.0
        )

    def add(self, prefix: str, key: str, new: Reading) -> None:
        """Merge one value by the rule that the kind of its file stands for."""
        series = self.readings.setdefault(prefix, {})
        series[key] = _merge(prefix, series[key], new) if key in series else new


class MetricsFolder:
    """Gives each worker its files and reads those of all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def begin(cls, metrics_dir: Path, now: float) -> Self:
        """Start counting from zero at ``now``, in Unix seconds, in a fresh folder."""
        path = metrics_dir / str(round(now * 1000))
        path.mkdir(parents=True)
        return cls(path)

    @classmethod
    def all(cls, metrics_dir: Path) -> list[Self]:
        """List the epochs that have left a folder, oldest first."""
        names = sorted(int(path.name) for path in metrics_dir.glob("*") if path.name.isdecimal())
        return [cls(metrics_dir / str(name)) for name in names]

    @classmethod
    def latest(cls, metrics_dir: Path) -> Self:
        """Find the epoch that was begun last."""
        return cls.all(metrics_dir)[-1]

    @property
    def began(self) -> float:
        """When the epoch's counters began, in Unix seconds; the folder's name in milliseconds."""
        return int(self.path.name) / 1000

    def join(self) -> WorkerFiles:
        """Become a worker of this epoch, folding the files that dead workers left."""
        self._fold_dead_workers()
        return WorkerFiles(self.path)

    def read(self) -> Totals:
        """Sum over all workers since the epoch began."""
        with self._locked(fcntl.LOCK_SH):
            totals, folded_files = self._folded()
            for file in self._worker_files():
                if file.name in folded_files:
                    continue
                prefix, worker = _split(file)
                if prefix not in _LIVE or self._alive(worker):
                    _read_into(totals, prefix, file)
            return totals

    def living_workers(self) -> frozenset[str]:
        """Name those who count into this epoch."""
        locks = (path for path in self.path.glob("*.lock") if path.name != _FOLD_LOCK)
        return frozenset(lock.stem for lock in locks if self._alive(lock.stem))

    def _fold_dead_workers(self) -> None:
        with self._locked(fcntl.LOCK_EX):
            totals, folded_files = self._folded()
            dead = [file for file in self._worker_files() if not self._alive(_split(file)[1])]
            readable: list[Path] = []
            for file in dead:
                prefix, _ = _split(file)
                # An empty file is what a worker leaves that is killed while it creates the file.
                worthless = prefix in _LIVE or not file.stat().st_size
                if worthless or file.name in folded_files or _read_into(totals, prefix, file):
                    readable.append(file)
            # The rename is the commit: before it the old files count, after it the fold does.
            content = {"files": [file.name for file in readable], "readings": totals.readings}
            temporary = self.path / f"{_FOLDED}.new"
            with temporary.open("w") as handle:
                json.dump(content, handle)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.rename(self.path / _FOLDED)
            for file in readable:
                file.unlink()
            for lock in self.path.glob("*.lock"):
                if lock.name != _FOLD_LOCK and not self._alive(lock.stem):
                    lock.unlink()

    def _folded(self) -> tuple[Totals, frozenset[str]]:
        try:
            content = json.loads((self.path / _FOLDED).read_text())
            readings = {
                prefix: {key: Reading(*reading) for key, reading in series.items()}
                for prefix, series in content["readings"].items()
            }
            return Totals(readings), frozenset(content["files"])
        except FileNotFoundError:
            return Totals(), frozenset()
        except (*_UNREADABLE, KeyError, TypeError):
            return Totals(unreadable_files=1), frozenset()

    def _worker_files(self) -> list[Path]:
        return sorted(self.path.glob("*_*.db"))

    def _alive(self, worker: str) -> bool:
        try:
            descriptor = os.open(self.path / f"{worker}.lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        descriptor = os.open(self.path / _FOLD_LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)


def _split(file: Path) -> tuple[str, str]:
    prefix, _, worker = file.stem.rpartition("_")
    return prefix, worker


def _read_into(totals: Totals, prefix: str, file: Path) -> bool:
    try:
        with file.open("rb") as handle:
            if int.from_bytes(handle.read(4), sys.byteorder, signed=True) < _HEADER_BYTES:
                raise ValueError("the file's header is damaged")
        stored = MmapedDict.read_all_values_from_file(str(file))
        # Bounded: damage can make the reader go round in circles.
        values = [
            (parsed_key(key), Reading(value, timestamp))
            for key, value, timestamp, _ in islice(stored, file.stat().st_size // _ENTRY_BYTES)
        ]
    except _UNREADABLE:
        totals.unreadable_files += 1
        return False
    for key, reading in values:
        totals.add(prefix, key.text, reading)
    return True


def _merge(prefix: str, old: Reading, new: Reading) -> Reading:
    match prefix.removeprefix("gauge_"):
        case Merge.MIN:
            return min(old, new)
        case Merge.MAX | Merge.LIVE_MAX:
            return max(old, new)
        case Merge.LATEST:
            return max(old, new, key=lambda reading: reading.timestamp)
        case _:
            return Reading(old.value + new.value, max(old.timestamp, new.timestamp))
