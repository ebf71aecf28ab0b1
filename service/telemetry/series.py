"""One worker's series, each a place in a mapped metrics file.

The files are prometheus_client's own multiprocess format, so that a count survives ``kill -9`` of
the worker and a stock ``MultiProcessCollector`` can read what workers wrote since the last fold.
"""

import fcntl
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client.mmap_dict import mmap_key

from service.monitoring.catalogue import CATALOGUE, Metric
from service.telemetry.metrics_file import MetricsFile

ABSENT = math.nan
"""Value of a gauge that is not exposed: files can tell a series nothing else once it is there."""


class Series:
    """One label combination of one metric, as this worker has counted it."""

    __slots__ = ("_clock", "_file", "_place")

    def __init__(self, file: MetricsFile, place: int, clock: Callable[[], float]) -> None:
        self._file = file
        self._place = place
        self._clock = clock

    @property
    def value(self) -> float:
        """What was counted, or set last."""
        return float(self._file.memory[self._place])

    def increase(self, amount: float = 1.0) -> None:
        """Add ``amount``."""
        self._file.memory[self._place] += amount

    def set(self, value: float) -> None:
        """Replace the value."""
        memory, place = self._file.memory, self._place
        memory[place] = value
        # After the value: whoever sees the new time sees no old value as the latest.
        memory[place + 1] = self._clock()

    def date(self) -> None:
        """Say that something was written now."""
        self._file.memory[self._place + 1] = self._clock()


class SeriesBlock:
    """Series of one metric, counted in bulk."""

    __slots__ = ("_file", "_places", "_places_list")

    def __init__(self, file: MetricsFile, places: Sequence[int]) -> None:
        self._file = file
        self._places = np.array(places, dtype=np.int64)
        self._places_list = places

    def count(self, indices: NDArray[np.int64]) -> None:
        """Add one to the series at every one of ``indices``, shape ``(n,)``."""
        np.add.at(self._file.doubles, self._places[indices], 1.0)

    def count_few(self, indices: Iterable[int]) -> None:
        """Do the same for fewer than some tens: faster than numpy begins."""
        memory, places = self._file.memory, self._places_list
        for index in indices:
            memory[places[index]] += 1.0


class WorkerFiles:
    """The series of one living worker.

    Living means that the worker holds the lock on its ``.lock`` file: the kernel releases it
    whatever ends the process, and it cannot be confused by a process id that is used again.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        """Unique to this life of the process."""
        self._lock = _locked_file(folder, self.worker)
        # All of them now: on a disk that is full later, the first prediction can make none.
        self._files = {
            kind: MetricsFile(folder / f"{kind}_{self.worker}.db") for kind in _KINDS_OF_FILES
        }
        self._dated: Series | None = None

    def series(
        self,
        metric: Metric,
        labels: Mapping[str, str],
        sample_name: str | None = None,
        *,
        value: float = 0.0,
    ) -> Series:
        """Create the series of ``metric`` with ``labels``, at ``value``.

        ``sample_name`` is for the parts of a histogram, such as ``..._bucket``.
        """
        file = self._files[_kind_of_file(metric)]
        place = self._place(file, metric, labels, sample_name, value)
        series = Series(file, place, self._clock)
        if self._dated is None and metric.merge is None:
            self._dated = series
        return series

    def block(
        self,
        metric: Metric,
        labels: Iterable[Mapping[str, str]],
        sample_name: str | None = None,
    ) -> SeriesBlock:
        """Create a series of ``metric`` at 0 for each of ``labels``; they are counted in bulk."""
        file = self._files[_kind_of_file(metric)]
        places = [self._place(file, metric, each, sample_name, 0.0) for each in labels]
        return SeriesBlock(file, places)

    def flush(self) -> None:
        """Say that something was recorded until now; the numbers themselves are there already.

        Once a turn instead of at every number: counters need no dates of their own.
        """
        if self._dated is not None:
            self._dated.date()

    def close(self) -> None:
        """Let go of the files; the worker counts as dead from here on."""
        for file in self._files.values():
            file.close()
        os.close(self._lock)

    def _place(
        self,
        file: MetricsFile,
        metric: Metric,
        labels: Mapping[str, str],
        sample_name: str | None,
        value: float,
    ) -> int:
        key = mmap_key(
            metric.name.removesuffix("_total"),
            sample_name or metric.name,
            list(labels),
            list(labels.values()),
            metric.meaning,
        )
        return file.place(key, value, self._clock())


def _kind_of_file(metric: Metric) -> str:
    return metric.kind if metric.merge is None else f"{metric.kind}_{metric.merge}"


_KINDS_OF_FILES = sorted({_kind_of_file(metric) for metric in CATALOGUE} - {"gauge"})
"""A gauge that is not merged is computed when it is read."""


def _locked_file(folder: Path, worker: str) -> int:
    # Locked under another name first: no reader may see the lock file unlocked while we live.
    path = folder / f"{worker}.lock"
    unnamed = folder / f"{worker}.lock.new"
    descriptor = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unnamed.rename(path)
    return descriptor
