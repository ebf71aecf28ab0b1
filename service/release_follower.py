"""Keeps one worker at the generation that its instance serves."""

import asyncio
import logging

from service.allocator import give_memory_back
from service.prediction.release import Release, ReleaseRefusedError
from service.prediction.release_store import Acknowledgement, Pointer, ReleaseStore, Stand
from service.prediction.serving import Serving

_LOOK_AGAIN_SECONDS = 0.1
_TRY_AGAIN_SECONDS = 2.0

_LOGGER = logging.getLogger(__name__)


class ReleaseFollower:
    """Watches the pointer: gets ready for what is proposed, switches to what is to be served."""

    def __init__(self, *, store: ReleaseStore, serving: Serving, worker: str) -> None:
        self._store = store
        self._serving = serving
        self._worker = worker
        self._ready: Release | None = None
        self._done: Pointer | None = None
        self._failing = False

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(_TRY_AGAIN_SECONDS if self._failing else _LOOK_AGAIN_SECONDS)

    async def catch_up(self) -> None:
        """Serve what is to be served by now.

        To be called before a worker answers: between its loading a release and its being known to
        others there may have been another, which nobody has waited for it to serve.
        """
        try:
            await self._follow()
        except Exception:
            # Whatever fails, it goes on as it is and tries again. Once a streak.
            if not self._failing:
                _LOGGER.exception("cannot follow a release; what was served is served on")
            self._failing = True
        else:
            self._failing = False

    async def _follow(self) -> None:
        pointer = self._store.pointer()
        if pointer is None or pointer == self._done:
            return
        # First what is proposed: where what is served cannot be loaded, it is the remedy.
        if pointer.proposed is not None:
            await self._get_ready(pointer.proposed)
        if pointer.serving != self._serving.release.generation:
            await self._switch(pointer.serving)
        if pointer.proposed is None:
            self._ready = None
        self._say(pointer.serving, Stand.SERVING)
        self._done = pointer
        if pointer.proposed is None:
            # Without this a worker has grown by a third after some releases.
            await asyncio.to_thread(give_memory_back)

    async def _switch(self, generation: int) -> None:
        self._serving.switch(await self._load(generation))

    async def _get_ready(self, generation: int) -> None:
        try:
            self._ready = await self._load(generation)
        except ReleaseRefusedError as refusal:
            self._say(generation, Stand.REFUSED, str(refusal))
        except Exception as defect:
            # Whoever proposed it waits for an answer.
            _LOGGER.exception("release %d cannot be loaded", generation)
            self._say(generation, Stand.REFUSED, f"a worker cannot load it: {defect!r}")
        else:
            self._say(generation, Stand.READY)

    async def _load(self, generation: int) -> Release:
        if self._ready is not None and self._ready.generation == generation:
            return self._ready
        # On a thread: predictions go on meanwhile.
        return await asyncio.to_thread(self._store.load, generation, self._serving.release)

    def _say(self, generation: int, stand: Stand, problem: str = "") -> None:
        self._store.acknowledge(generation, self._worker, Acknowledgement(stand, problem))
