"""Releases on disk, where every worker of an instance finds what to serve.

``releases/<generation>/`` holds copies of the model versions and of the experiment file: a worker
that starts later, or again after it was killed, serves exactly what the others do, whatever was
trained, edited or deleted meanwhile. ``pointer.json`` names the generation that is served and the
one that is proposed; it is replaced in one step, and all workers watch it. It also says of which
format everything in the folder is.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from service.formats import written_later
from service.prediction.durable import make_durable, write_durably
from service.prediction.release import Release, ReleaseRefusedError
from service.prediction.release_plan import ReleasePlan, plan_reload
from service.prediction.release_staging import load_staged, read_plan, stage

RELEASES_FORMAT = 1
_POINTER, _LOCK, _WORKERS = "pointer.json", "lock", "workers"
_KEPT_RELEASES = 3
"""A worker that starts may still be reading the one before."""


class ReleaseBusyError(Exception):
    """Another release is under way."""


class Pointer(NamedTuple):
    """Which generation all workers are to serve, and which to get ready."""

    serving: int
    proposed: int | None = None
    newest: int = 0
    """Greatest number that was ever proposed: one that was withdrawn is not used again."""


class Stand(StrEnum):
    """How far a worker is with a generation."""

    READY = "ready"
    """It has loaded and tried it."""
    SERVING = "serving"
    REFUSED = "refused"


class Acknowledgement(NamedTuple):
    """What a worker said of a generation."""

    stand: Stand
    problem: str = ""
    """Why it refused."""


class ReleaseStore:
    """The releases of one instance; used by all its workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pointer(self) -> Pointer | None:
        """Read what is to be served; None before the first release, or where it is damaged.

        Raises:
            ReleaseRefusedError: A later release of the service wrote it.
        """
        try:
            content = json.loads((self._folder / _POINTER).read_bytes())
            form = int(content.pop("format", 1))  # Builds before 0.1.0 did not say it.
            if form <= RELEASES_FORMAT:
                return Pointer(**content)
        except (FileNotFoundError, AttributeError, ValueError, TypeError):
            return None
        raise ReleaseRefusedError(
            written_later(
                str(self._folder),
                form="format",
                found=form,
                known=RELEASES_FORMAT,
                instead="delete it: what is in the models folder is then served",
            )
        )

    def plan(self, generation: int) -> ReleasePlan:
        """Read where the parts of a release came from.

        Raises:
            OSError: It is not there.
            ValueError: It is damaged.
        """
        return read_plan(self._home(generation))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the only one that makes a release; ends with the process, whatever ends it.

        Raises:
            ReleaseBusyError: Somebody else is.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ReleaseBusyError("another release is under way; try again") from error
            yield

    def stage(self, plan: ReleasePlan) -> int:
        """Copy everything that a plan names into a new generation, which nobody serves yet.

        Raises:
            ReleaseRefusedError: Something that it names is not there, or it cannot be written.
        """
        pointer = self.pointer()
        generation = max([pointer.newest if pointer else 0, *self._generations()]) + 1
        home = self._home(generation)
        try:
            (home / _WORKERS).mkdir(parents=True)
            stage(plan, home, served=self._home(pointer.serving) if pointer else None)
        except BaseException as error:
            shutil.rmtree(home, ignore_errors=True)
            if isinstance(error, OSError):
                raise ReleaseRefusedError(
                    f"{home} cannot be written: {error.strerror or error}; mend the state folder"
                ) from error
            raise
        return generation

    def serving(self) -> Release:
        """Load what is served, for a worker that starts.

        Raises:
            ReleaseRefusedError: It is damaged.
        """
        for _ in range(_KEPT_RELEASES):
            pointer = self.pointer()
            if pointer is None:
                break
            with suppress(FileNotFoundError):  # Several releases were made meanwhile.
                return self.load(pointer.serving)
        raise ReleaseRefusedError(f"{self._folder} names nothing to serve; start the service again")

    def begin(self, models_dir: Path, configured_experiment: Path | None) -> Release:
        """Serve what is on disk, before there is any worker.

        Raises:
            ReleaseBusyError: Somebody else does.
            ReleaseRefusedError: It cannot be served.
        """
        with self.exclusive():
            plan = plan_reload(models_dir, configured_experiment, serving=self._last_plan())
            generation = self.stage(plan)
            try:
                release = self.load(generation)
            except BaseException:
                self.withdraw(generation)
                raise
            self.commit(generation)
            return release

    def _last_plan(self) -> ReleasePlan | None:
        # What an earlier life left may be damaged; it is for going back, and not needed to start.
        with suppress(OSError, ValueError):
            pointer = self.pointer()
            return None if pointer is None else self.plan(pointer.serving)
        return None

    def load(self, generation: int, known: Release | None = None) -> Release:
        """Load a generation and try every model that ``known`` does not hold already.

        Raises:
            ReleaseRefusedError: It is damaged; the message names the file that it was copied from.
        """
        return load_staged(self._home(generation), generation, known)

    def propose(self, generation: int) -> None:
        """Ask every worker to get ready."""
        serving = self.pointer()
        self._point(Pointer(serving.serving if serving else 0, generation, generation))

    def withdraw(self, generation: int) -> None:
        """Forget a generation that is not served; what is served goes on."""
        serving = self.pointer()
        if serving is not None and serving.proposed is not None:
            self._point(serving._replace(proposed=None))
        shutil.rmtree(self._home(generation), ignore_errors=True)

    def commit(self, generation: int) -> None:
        """Have every worker serve a generation, from now on and after every restart."""
        self._point(Pointer(generation, newest=generation))
        for old in sorted(self._generations())[:-_KEPT_RELEASES]:
            shutil.rmtree(self._home(old), ignore_errors=True)

    def acknowledge(self, generation: int, worker: str, said: Acknowledgement) -> None:
        """Say how far a worker is; no matter where nobody is interested any more."""
        folder = self._home(generation) / _WORKERS
        unnamed = folder / f".{worker}"
        with suppress(FileNotFoundError):
            unnamed.write_text(json.dumps(said._asdict()))
            unnamed.rename(folder / worker)

    def acknowledgements(self, generation: int) -> Mapping[str, Acknowledgement]:
        """What workers have said of a generation, the dead included."""
        found = {}
        for path in (self._home(generation) / _WORKERS).glob("[!.]*"):
            content = json.loads(path.read_text())
            found[path.name] = Acknowledgement(Stand(content["stand"]), content["problem"])
        return found

    def _point(self, pointer: Pointer) -> None:
        unnamed = self._folder / f".{_POINTER}"
        content = {"format": RELEASES_FORMAT, **pointer._asdict()}
        write_durably(unnamed, json.dumps(content).encode())
        unnamed.replace(self._folder / _POINTER)
        make_durable(self._folder)

    def _home(self, generation: int) -> Path:
        return self._folder / str(generation)

    def _generations(self) -> list[int]:
        return [int(path.name) for path in self._folder.glob("*") if path.name.isdecimal()]
