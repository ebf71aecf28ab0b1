"""Replaces what an instance serves, in all its workers or in none, while requests go on.

The worker that is asked copies everything into a new generation and proposes it. Every living
worker loads and tries it, and says whether it could. Only when all could is the generation made the
one that is served; then each worker switches between two of its turns. A worker that is killed in
the middle drops out, and its successor serves what the pointer names.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.prediction.model_folder import CURRENT_FILE, ModelFolderError, make_current
from service.prediction.release import ReleaseRefusedError
from service.prediction.release_plan import (
    NotReleasedError,
    ReleasePlan,
    plan_reload,
    plan_rollback,
)
from service.prediction.release_store import ReleaseBusyError, ReleaseStore, Stand
from service.worker_process import Terminal

_LOOK_AGAIN_SECONDS = 0.1
_READY_SECONDS = 60.0
_SERVING_SECONDS = 20.0

_LOGGER = logging.getLogger(__name__)


class ReleaseTimeoutError(Exception):
    """A worker did not get ready in time; nothing has changed."""


REFUSALS = (NotReleasedError, ReleaseRefusedError, ReleaseBusyError, ReleaseTimeoutError)
"""Why a release may not come about; nothing has changed then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What is served of one model, and what was."""

    name: str
    version: str
    previous_version: str | None
    """The same where nothing changed; None for a model that was not served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What a release has brought."""

    generation: int
    loaded: Sequence[LoadedModel]
    dropped: Sequence[str]
    """Models that are served no longer."""
    workers: int
    """Workers that serve it."""
    behind: Sequence[str]
    """Workers that do not yet; they go on trying."""

    def __str__(self) -> str:
        changed = [
            f"{m.name} {m.version} (was {m.previous_version or 'not served'})"
            for m in self.loaded
            if m.version != m.previous_version
        ]
        gone = [f"{name} is served no longer" for name in self.dropped]
        late = [f"{len(self.behind)} workers do not serve it yet"] if self.behind else []
        what = "; ".join([*(changed or ["no model has changed"]), *gone, *late])
        return f"release {self.generation}: {what}"


class Releases:
    """Makes releases, on request."""

    def __init__(
        self,
        *,
        store: ReleaseStore,
        models_dir: Path,
        experiment_file: Path | None,
        workers: Callable[[], frozenset[str]],
        ready_seconds: float = _READY_SECONDS,
        serving_seconds: float = _SERVING_SECONDS,
    ) -> None:
        """Prepare.

        Args:
            store: Where the workers of this instance find what to serve.
            models_dir: Folder that training writes to.
            experiment_file: File of the experiment, where one is configured.
            workers: Gives those who are alive.
            ready_seconds: How long they may take to load.
            serving_seconds: How long they may take to switch.
        """
        self._store = store
        self._models_dir = models_dir
        self._experiment_file = experiment_file
        self._workers = workers
        self._ready_seconds = ready_seconds
        self._serving_seconds = serving_seconds

    async def reload(self, model: str | None) -> Released:
        """Serve what is on disk now: all models, or one, and the experiment.

        Raises:
            NotReleasedError: There is no such model.
            ReleaseRefusedError: Something is wrong with what is on disk; nothing has changed.
            ReleaseBusyError: Another release is under way.
            ReleaseTimeoutError: A worker did not get ready; nothing has changed.
        """

        def plan(serving: ReleasePlan) -> ReleasePlan:
            return plan_reload(self._models_dir, self._experiment_file, serving=serving, only=model)

        return await self._release(plan)

    async def rollback(self, model: str) -> Released:
        """Serve the version of a model that was served before, also after a restart.

        Raises:
            NotReleasedError: There is no such model.
            ReleaseRefusedError: None was served before, or it cannot be served; nothing has
                changed.
            ReleaseBusyError: Another release is under way.
            ReleaseTimeoutError: A worker did not get ready; nothing has changed.
        """

        def plan(serving: ReleasePlan) -> ReleasePlan:
            return plan_rollback(self._models_dir, model, serving=serving)

        def settle(plan: ReleasePlan) -> None:
            _point_at(self._models_dir / model, plan.versions[model])

        return await self._release(plan, settle)

    async def _release(
        self,
        plan_after: Callable[[ReleasePlan], ReleasePlan],
        settle: Callable[[ReleasePlan], None] = lambda _: None,
    ) -> Released:
        with self._store.exclusive():
            before = await asyncio.to_thread(self._served_plan)
            plan = await asyncio.to_thread(plan_after, before)
            generation = await asyncio.to_thread(self._store.stage, plan)
            try:
                self._store.propose(generation)
                await self._until_all_are_ready(generation)
                settle(plan)
            except BaseException:
                self._store.withdraw(generation)
                raise
            self._store.commit(generation)
            behind = await self._until_all_serve(generation)
            serving = sorted(self._workers() - set(behind))
        return Released(
            generation=generation,
            loaded=[
                LoadedModel(
                    name=name,
                    version=plan.versions[name],
                    previous_version=before.versions.get(name),
                )
                for name in plan.fresh
            ],
            dropped=sorted(before.versions.keys() - plan.versions.keys()),
            workers=len(serving),
            behind=behind,
        )

    def _served_plan(self) -> ReleasePlan:
        pointer = self._store.pointer()
        if pointer is None:
            raise ReleaseRefusedError("nothing is served yet; restart the service")
        return self._store.plan(pointer.serving)

    async def _until_all_are_ready(self, generation: int) -> None:
        def silent() -> frozenset[str]:
            said = self._store.acknowledgements(generation)
            for worker in self._workers() & said.keys():
                if said[worker].stand is Stand.REFUSED:
                    raise ReleaseRefusedError(said[worker].problem)
            return self._workers() - said.keys()

        late = await _until_none(silent, self._ready_seconds)
        if late:
            raise ReleaseTimeoutError(
                f"the workers {', '.join(late)} were not ready within {self._ready_seconds:g} s; "
                "nothing has changed, try again"
            )

    async def _until_all_serve(self, generation: int) -> Sequence[str]:
        def behind() -> frozenset[str]:
            said = self._store.acknowledgements(generation)
            serving = {worker for worker, (stand, _) in said.items() if stand is Stand.SERVING}
            return self._workers() - serving

        return await _until_none(behind, self._serving_seconds)


@contextmanager
def reloading_on_hangup(releases: Releases) -> Iterator[None]:
    """Within the block the signal ``SIGHUP`` reloads; the log says what came of it.

    It stops the process where its terminal was closed. Afterwards it is ignored.
    """
    loop = asyncio.get_running_loop()
    terminal = Terminal()
    running: set[asyncio.Task[None]] = set()

    def reload() -> None:
        if terminal.has_gone():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        task = loop.create_task(_reload_and_log(releases))
        # The loop itself keeps no hold on a task.
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        # The loop leaves the default, which would end a process that is storing its last counts:
        # a terminal that is closed sends the signal more than once.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _reload_and_log(releases: Releases) -> None:
    try:
        released = await releases.reload(None)
    except (*REFUSALS, OSError) as problem:
        _LOGGER.warning("no release: %s", problem)
    else:
        _LOGGER.info("%s", released)


async def _until_none(missing: Callable[[], frozenset[str]], seconds: float) -> Sequence[str]:
    """Wait until nobody is missing; give those who still are after ``seconds``."""
    now = asyncio.get_running_loop().time
    deadline = now() + seconds
    while True:
        left = missing()
        if not left or now() > deadline:
            return sorted(left)
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _point_at(folder: Path, version: str) -> None:
    try:
        make_current(folder, version)
    except (ModelFolderError, OSError) as error:
        raise ReleaseRefusedError(
            f"{folder / CURRENT_FILE} cannot be written ({error}), so a restart would undo the "
            f"rollback; write {version} into it by other means and reload"
        ) from error
