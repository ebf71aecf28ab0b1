"""The metrics folder of one epoch: the sum over all its workers, dead ones included.

What prometheus_client's own reader lacks is here: an unreadable file is left out and counted
instead of failing every scrape, gauges of dead workers are dropped, and the files of dead workers
are folded into one so that the folder does not grow with every crash.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Self

from service.monitoring.catalogue import Merge
from service.telemetry.errors import CountersUnavailableError
from service.telemetry.fold import FoldFile
from service.telemetry.merging import Merger, Totals
from service.telemetry.series import WorkerFiles
from service.telemetry.stored_file import UNREADABLE, Part, StoredFile, is_shortage

METRICS_FORMAT = 1
_FORMAT_FILE = "format"
_FOLDED = "folded.json"
_FOLD_LOCK = "fold.lock"
_LIVE = {f"gauge_{Merge.LIVE_SUM}", f"gauge_{Merge.LIVE_MAX}"}


class MetricsFolder:
    """Gives each worker its files and reads those of all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # What was parsed once is kept; one thread at a time reads.
        self._reading = Lock()
        self._files: dict[str, StoredFile] = {}
        self._fold = FoldFile(path / _FOLDED)
        self._merger = Merger()

    @classmethod
    def begin(cls, metrics_dir: Path, now: float) -> Self:
        """Start counting from zero at ``now``, in Unix seconds, in a fresh folder."""
        path = metrics_dir / str(round(now * 1000))
        path.mkdir(parents=True)
        (path / _FORMAT_FILE).write_text(f"{METRICS_FORMAT}\n")
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

    @property
    def format(self) -> int:
        """Number of the format of everything in the folder."""
        said = ""
        with suppress(FileNotFoundError):
            said = (self.path / _FORMAT_FILE).read_text().strip()
        # Builds before 0.1.0 did not say it; a crash of the machine may leave it empty.
        return int(said) if said.isdecimal() else 1

    def join(self) -> WorkerFiles:
        """Become a worker of this epoch, folding the files that dead workers left."""
        self._fold_dead_workers()
        return WorkerFiles(self.path)

    def read(self) -> Totals:
        """Sum over all workers since the epoch began.

        Raises:
            CountersUnavailableError: It is not known now.
        """
        try:
            return self._read()
        except OSError as error:
            raise CountersUnavailableError(
                f"the metrics files in {self.path} cannot be read: {error.strerror}"
            ) from error

    def _read(self) -> Totals:
        with self._reading, self._locked(fcntl.LOCK_SH):
            fold = self._fold.read()
            names = [name for name in self._counting_files() if name not in fold.files]
            # Of files that are gone nothing is kept.
            self._files = {
                name: self._files.get(name) or StoredFile(self.path / name, _split(name)[0])
                for name in names
            }
            readable = dict(_readable(self._files))
            unreadable = len(names) - len(readable) + fold.unreadable
            parts = self._merger.merge([*fold.parts, *readable.values()])
            return Totals(tuple(parts), unreadable)

    def living_workers(self) -> frozenset[str]:
        """Name those who count into this epoch."""
        locks = (path for path in self.path.glob("*.lock") if path.name != _FOLD_LOCK)
        return frozenset(lock.stem for lock in locks if self._alive(lock.stem))

    def _fold_dead_workers(self) -> None:
        with self._reading, self._locked(fcntl.LOCK_EX):
            fold = self._fold.read()
            if fold.unreadable:
                # To write another would hide that its counts are missing, and lose them for good.
                return
            dead = [name for name in self._worker_files() if not self._alive(_split(name)[1])]
            # An empty file is what a crash of the machine may leave.
            worthless = [
                name
                for name in dead
                if name in fold.files
                or _split(name)[0] in _LIVE
                or not (self.path / name).stat().st_size
            ]
            stored = {
                name: StoredFile(self.path / name, _split(name)[0])
                for name in dead
                if name not in worthless
            }
            readable = dict(_readable(stored))
            gone = [*worthless, *readable]
            # The rename is the commit: before it the old files count, after it the fold does.
            self._fold.write(Merger().merge([*fold.parts, *readable.values()]), gone)
            for name in gone:
                (self.path / name).unlink()
            for lock in self.path.glob("*.lock"):
                if lock.name != _FOLD_LOCK and not self._alive(lock.stem):
                    lock.unlink()

    def _counting_files(self) -> list[str]:
        """Name the files of workers, of dead ones without the gauges that die with them."""
        names = self._worker_files()
        workers = {_split(name)[1] for name in names if _split(name)[0] in _LIVE}
        living = {worker for worker in workers if self._alive(worker)}
        return [n for n in names if _split(n)[0] not in _LIVE or _split(n)[1] in living]

    def _worker_files(self) -> list[str]:
        with os.scandir(self.path) as entries:
            return sorted(e.name for e in entries if e.name.endswith(".db") and "_" in e.name)

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
        # Reading needs no right to write: the disk may have become read-only.
        access = os.O_RDONLY if mode == fcntl.LOCK_SH else os.O_RDWR
        flags = access | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path / _FOLD_LOCK, flags, 0o644)
        try:
            fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)


def _split(name: str) -> tuple[str, str]:
    """Kind of a file and the worker it is of."""
    prefix, _, worker = name.removesuffix(".db").rpartition("_")
    return prefix, worker


def _readable(files: Mapping[str, StoredFile]) -> Iterator[tuple[str, Part]]:
    for name, file in files.items():
        try:
            part = file.read()
        except UNREADABLE as error:
            if is_shortage(error):
                raise
        else:
            yield name, part
