"""One worker's metrics files: plain numbers in memory, written to mapped files once a turn.

The files are prometheus_client's own multiprocess format, so that a count survives ``kill -9`` of
the worker and a stock ``MultiProcessCollector`` can read what workers wrote since the last fold.
Values are written in bulk: recording touches Python floats, :meth:`WorkerFiles.flush` writes each
changed one once.
"""

import fcntl
import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from service.monitoring.catalogue import Metric

ABSENT = math.nan
"""Value of a gauge that is not exposed: files can tell a series nothing else once it is there."""


class Series:
    """One label combination of one metric, as this worker has counted it."""

    __slots__ = ("_file", "_key", "_touched", "value")

    def __init__(self, file: MmapedDict, key: str, touched: "set[Series]") -> None:
        self._file = file
        self._key = key
        self._touched = touched
        self.value = 0.0
        touched.add(self)

    def increase(self, amount: float = 1.0) -> None:
        """Add ``amount`` at the next flush."""
        self.value += amount
        self._touched.add(self)

    def set(self, value: float) -> None:
        """Replace the value at the next flush."""
        self.value = value
        self._touched.add(self)

    def write(self, timestamp: float) -> None:
        """Put the value into the mapped file."""
        self._file.write_value(self._key, self.value, timestamp)


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
        self._files: dict[str, MmapedDict] = {}
        self._touched: set[Series] = set()

    def series(
        self,
        metric: Metric,
        labels: Mapping[str, str],
        sample_name: str | None = None,
    ) -> Series:
        """Create the series of ``metric`` with ``labels``, at 0.

        ``sample_name`` is for the parts of a histogram, such as ``..._bucket``.
        """
        prefix = metric.kind if metric.merge is None else f"{metric.kind}_{metric.merge}"
        if prefix not in self._files:
            self._files[prefix] = MmapedDict(str(self._folder / f"{prefix}_{self.worker}.db"))
        key = mmap_key(
            metric.name.removesuffix("_total"),
            sample_name or metric.name,
            list(labels),
            list(labels.values()),
            metric.meaning,
        )
        return Series(self._files[prefix], key, self._touched)

    def flush(self) -> None:
        """Write what changed since the last flush."""
        now = self._clock()
        for series in self._touched:
            series.write(now)
        self._touched.clear()

    def close(self) -> None:
        """Flush and let go of the files; the worker counts as dead from here on."""
        self.flush()
        for file in self._files.values():
            file.close()
        os.close(self._lock)


def _locked_file(folder: Path, worker: str) -> int:
    # Locked under another name first: no reader may see the lock file unlocked while we live.
    path = folder / f"{worker}.lock"
    unnamed = folder / f"{worker}.lock.new"
    descriptor = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unnamed.rename(path)
    return descriptor
