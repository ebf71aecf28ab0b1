"""Answers ad requests, those of one event-loop turn together.

Requests that arrive while the loop is busy are scored in one call when it has come round, and no
request waits for a timer: the loop does not sleep while one is to be answered. What they record is
written once, before any of their answers leaves.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from service.prediction.ad_request import AdRequest
from service.prediction.faults import FaultInjector
from service.prediction.prediction_id import Signer
from service.prediction.serving import ServedModels
from service.prediction.shadow import ShadowScorer
from service.prediction.turn import Call, Part, Render, Scored, TurnScorer, groups_of
from service.request_id import Request
from service.telemetry.recorder import Recorder

_LARGE_ROWS = 256
"""Scoring so many takes a millisecond, which is left to a thread; handing over takes a tenth."""
_TIMER_RESOLUTION_SECONDS = 0.001


class UnknownModelError(LookupError):
    """No model of that name is served."""


class Predictor:
    """Answers ad requests with the models that are served when they arrive."""

    def __init__(
        self,
        *,
        serving: Callable[[], ServedModels],
        recorder: Recorder,
        shadow: ShadowScorer,
        signer: Signer,
        faults: FaultInjector,
    ) -> None:
        self._serving = serving
        self._recorder = recorder
        self._faults = faults
        self._scorer = TurnScorer(recorder=recorder, shadow=shadow, signer=signer, faults=faults)
        self._waiting: list[Call] = []
        self._large: set[asyncio.Task[None]] = set()
        # One core is the event loop's. As few threads as are of use, so that they stay warm.
        self._threads = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), "large-calls")

    async def answer(
        self,
        requests: Sequence[AdRequest],
        *,
        model_name: str | None,
        arrived: float,
        render: Render,
        request: Request | None = None,
    ) -> bytes:
        """Score ``requests`` and return the rendered answer.

        Args:
            requests: One or more ad requests.
            model_name: The model to use; by default the experiment assigns one to each user.
            arrived: ``time.perf_counter()`` when the body had arrived.
            render: Makes the body of the answer.
            request: The HTTP request that asks, for what is logged about it.

        Raises:
            UnknownModelError: ``model_name`` is not served.
            ModelFailedError: A model gave no usable score.
        """
        now = self._serving()
        if model_name is not None and model_name not in now.models:
            raise UnknownModelError(
                f"there is no model {model_name!r}; served are {', '.join(now.models)}"
            )
        loop = asyncio.get_running_loop()
        call = Call(now, model_name is None, arrived, render, loop.create_future(), request)
        only = now.experiment.only if model_name is None else model_name
        call.parts = _assigned(call, requests) if only is None else [_whole(call, only, requests)]
        for part in call.parts:
            part.served.recorder.started()
        if self._faults:
            await self._suffer_delay(call.parts)
        if len(requests) >= _LARGE_ROWS:
            # A task of its own: it is finished and counted whether or not anybody still waits.
            task = loop.create_task(self._answer_large(call))
            self._large.add(task)
            task.add_done_callback(self._large.discard)
        else:
            if not self._waiting:
                # Once round: requests that the sockets hold by now are read before it is done.
                loop.call_soon(loop.call_soon, self._answer_waiting)
            self._waiting.append(call)
        return await call.answer

    async def _suffer_delay(self, parts: Sequence[Part]) -> None:
        models = {part.served.bundle.name for part in parts}
        delay = self._faults.delay_seconds(models, time.monotonic())
        if delay:
            self._recorder.flush()
            # A timer may fire early; a fault of 300 ms lasts no less.
            await asyncio.sleep(delay + _TIMER_RESOLUTION_SECONDS)

    def _answer_waiting(self) -> None:
        calls, self._waiting = self._waiting, []
        try:
            # Written before scoring: a worker that hangs in a model shows what it hangs with.
            self._recorder.flush()
            scored = [done for group in groups_of(calls) for done in self._scorer.score(group)]
        except Exception as defect:  # noqa: BLE001 - must not leave anybody waiting for ever
            self._scorer.give_up(calls, defect)
        else:
            self._scorer.finish(calls, scored)

    async def _answer_large(self, call: Call) -> None:
        try:
            self._recorder.flush()
            scored: list[Scored] = []
            for group in groups_of([call]):
                loop = asyncio.get_running_loop()
                scored += await loop.run_in_executor(self._threads, self._scorer.score, group)
        except Exception as defect:  # noqa: BLE001 - must not leave anybody waiting for ever
            self._scorer.give_up([call], defect)
        else:
            self._scorer.finish([call], scored)


def _assigned(call: Call, requests: Sequence[AdRequest]) -> list[Part]:
    models, assign = call.now.models, call.now.experiment.assign
    if len(requests) == 1:
        model, cell = assign(requests[0].user_id)
        return [Part(call, models[model], (0,), requests, (cell,))]
    rows_of: dict[str, list[int]] = {}
    cells: list[int | None] = []
    for row, request in enumerate(requests):
        model, cell = assign(request.user_id)
        rows_of.setdefault(model, []).append(row)
        cells.append(cell)
    return [
        Part(
            call, models[model], rows, [requests[row] for row in rows], [cells[row] for row in rows]
        )
        for model, rows in rows_of.items()
    ]


def _whole(call: Call, model: str, requests: Sequence[AdRequest]) -> Part:
    rows = range(len(requests))
    return Part(call, call.now.models[model], rows, requests, [None] * len(requests))
