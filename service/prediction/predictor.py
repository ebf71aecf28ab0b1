"""Scores, names and records the requests of one event-loop turn together.

Requests that arrive while the loop is busy are scored in one call when it comes round: XGBoost's
cost per call is many times its cost per row, and no request waits for a timer. What they record is
written once, before any of their answers leaves.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.monitoring.catalogue import ErrorType
from service.prediction.ad_request import AdRequest
from service.prediction.faults import FaultInjector
from service.prediction.model import ModelBundle
from service.prediction.prediction_id import PredictionId
from service.prediction.serving import Served, ServedModels
from service.prediction.shadow import ShadowScorer
from service.telemetry.recorder import Recorder

_TIMER_RESOLUTION_SECONDS = 0.001

_LOGGER = logging.getLogger(__name__)


class UnknownModelError(LookupError):
    """No model of that name is served."""


class ModelFailedError(Exception):
    """A model gave no usable score; it has been recorded."""

    def __init__(self, model: str, error_type: ErrorType) -> None:
        super().__init__(f"the model {model!r} failed: {error_type}")
        self.model = model
        self.error_type = error_type


class Prediction(NamedTuple):
    """The answer for one ad request."""

    prediction_id: str
    predicted_ctr: float
    model_name: str
    model_version: str


Render = Callable[[Sequence[Prediction], float], bytes]
"""Makes the finished answer from the predictions and the latency in milliseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The rows of one call that go to one model."""

    served: Served
    rows: Sequence[int]
    requests: Sequence[AdRequest]
    cells: Sequence[int | None]
    """Cell of each row's user; None where no experiment chose the model."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    now: ServedModels
    """What was served when it arrived; it is answered and counted by that."""
    parts: Sequence[_Part]
    assigned: bool
    """Whether the experiment chose the models."""
    arrived: float
    render: Render
    answer: asyncio.Future[bytes]


class Predictor:
    """Answers ad requests with the models that are served when they arrive."""

    def __init__(
        self,
        *,
        serving: Callable[[], ServedModels],
        recorder: Recorder,
        shadow: ShadowScorer,
        signing_key: bytes,
        origin: int,
        faults: FaultInjector,
    ) -> None:
        self._serving = serving
        self._recorder = recorder
        self._shadow = shadow
        self._key = signing_key
        self._origin = origin
        self._faults = faults
        self._waiting: list[_Call] = []
        self._failing: set[str] = set()

    async def answer(
        self,
        requests: Sequence[AdRequest],
        *,
        model_name: str | None,
        arrived: float,
        render: Render,
    ) -> bytes:
        """Score ``requests`` and return the rendered answer.

        Args:
            requests: One or more ad requests.
            model_name: The model to use; by default the experiment assigns one to each user.
            arrived: ``time.perf_counter()`` when the body had arrived.
            render: Makes the body of the answer.

        Raises:
            UnknownModelError: ``model_name`` is not served.
            ModelFailedError: A model gave no usable score.
        """
        now = self._serving()
        if model_name is not None and model_name not in now.models:
            raise UnknownModelError(
                f"there is no model {model_name!r}; served are {', '.join(now.models)}"
            )
        parts = _parts(now, requests) if model_name is None else [_whole(now, model_name, requests)]
        for part in parts:
            part.served.recorder.started()
        await self._suffer_delay({part.served.bundle.name for part in parts})
        loop = asyncio.get_running_loop()
        call = _Call(now, parts, model_name is None, arrived, render, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._run_turn)
        self._waiting.append(call)
        return await call.answer

    async def _suffer_delay(self, models: set[str]) -> None:
        delay = self._faults.delay_seconds(models, time.monotonic())
        if delay:
            self._recorder.flush()
            # A timer may fire early; a fault of 300 ms lasts no less.
            await asyncio.sleep(delay + _TIMER_RESOLUTION_SECONDS)

    def _run_turn(self) -> None:
        calls, self._waiting = self._waiting, []
        try:
            outcomes = self._outcomes(calls)
            self._recorder.flush()
        except Exception as error:  # noqa: BLE001 - a defect must not leave anybody waiting for ever
            outcomes = [error] * len(calls)
        for call, outcome in zip(calls, outcomes, strict=True):
            if call.answer.cancelled():
                continue
            if isinstance(outcome, Exception):
                call.answer.set_exception(outcome)
            else:
                call.answer.set_result(outcome)

    def _outcomes(self, calls: Sequence[_Call]) -> list[bytes | Exception]:
        # Written before scoring: a worker that hangs in a model shows what it hangs with.
        self._recorder.flush()
        scores: dict[_Part, NDArray[np.float64] | ErrorType] = {}
        # By version too: a turn may hold calls of before and after a release.
        parts_of: dict[int, list[_Part]] = {}
        for part in (part for call in calls for part in call.parts):
            if self._faults.fails(part.served.bundle.name, time.monotonic()):
                scores[part] = ErrorType.INJECTED_FAULT
            else:
                parts_of.setdefault(id(part.served.bundle), []).append(part)
        for parts in parts_of.values():
            scores.update(self._score(parts[0].served.bundle, parts))
        return [self._outcome(call, [scores[part] for part in call.parts]) for call in calls]

    def _score(
        self, bundle: ModelBundle, parts: Sequence[_Part]
    ) -> Iterator[tuple[_Part, NDArray[np.float64] | ErrorType]]:
        """Score the parts together; where that fails, one by one, so that one row fails alone."""
        try:
            features = bundle.encoder.encode([r for part in parts for r in part.requests])
            scores = bundle.model.predict(features)
        except Exception:
            if len(parts) > 1:
                for part in parts:
                    yield from self._score(bundle, [part])
                return
            # Once a streak: a model that fails at every request must not fill the disk.
            if bundle.name not in self._failing:
                _LOGGER.exception("the model %s fails", bundle.name)
            self._failing.add(bundle.name)
            yield parts[0], ErrorType.EXCEPTION
            return
        self._failing.discard(bundle.name)
        start = 0
        for part in parts:
            own = scores[start : start + len(part.requests)]
            start += len(part.requests)
            yield part, own if np.isfinite(own).all() else ErrorType.NON_FINITE_SCORE

    def _outcome(
        self, call: _Call, scores: Sequence[NDArray[np.float64] | ErrorType]
    ) -> bytes | Exception:
        """Finish one call, then record it; ``scores`` are those of its parts."""
        seconds, now = time.perf_counter() - call.arrived, time.time()
        outcome: bytes | Exception
        try:
            outcome = call.render(self._predictions(call, scores, now), seconds * 1000)
        except ModelFailedError as failure:
            outcome = failure
        except Exception as defect:  # noqa: BLE001 - its request is counted like any other
            outcome = defect
            scores = [ErrorType.EXCEPTION] * len(call.parts)
        for part, result in zip(call.parts, scores, strict=True):
            served = part.served
            if isinstance(result, ErrorType):
                served.recorder.failed(seconds, result)
                served.reservoir.failed(now, seconds)
            else:
                served.reservoir.succeeded(now, seconds, result)
                value_indices = served.bundle.encoder.value_indices
                indices = np.array([value_indices(request) for request in part.requests])
                served.recorder.answered([seconds], result, indices)
                if served.assigned is not None:
                    served.assigned.predicted([cell for cell in part.cells if cell is not None])
                if call.assigned and call.now.shadows:
                    salt = call.now.experiment.salt
                    self._shadow.offer(call.now.shadows, part.requests, result, salt=salt)
        return outcome

    def _predictions(
        self, call: _Call, scores: Sequence[NDArray[np.float64] | ErrorType], now: float
    ) -> list[Prediction]:
        by_row: dict[int, Prediction] = {}
        for part, result in zip(call.parts, scores, strict=True):
            if isinstance(result, ErrorType):
                raise ModelFailedError(part.served.bundle.name, result)
            bundle = part.served.bundle
            for row, score, cell in zip(part.rows, result.tolist(), part.cells, strict=True):
                by_row[row] = self._prediction(call.now, bundle, score, cell, now)
        return [by_row[row] for row in range(len(by_row))]

    def _prediction(
        self,
        served: ServedModels,
        bundle: ModelBundle,
        score: float,
        cell: int | None,
        now: float,
    ) -> Prediction:
        identity = PredictionId(
            model=bundle.name,
            version=bundle.version,
            score=score,
            milliseconds=int(now * 1000),
            nonce=os.urandom(6),
            origin=self._origin,
            experiment=served.experiment.fingerprint,
            cell=cell,
        )
        return Prediction(identity.signed(self._key), score, bundle.name, bundle.version)


def _parts(now: ServedModels, requests: Sequence[AdRequest]) -> list[_Part]:
    assign = now.experiment.assign
    if len(requests) == 1:
        model, cell = assign(requests[0].user_id)
        return [_Part(now.models[model], (0,), requests, (cell,))]
    rows_of: dict[str, list[int]] = {}
    cells: list[int | None] = []
    for row, request in enumerate(requests):
        model, cell = assign(request.user_id)
        rows_of.setdefault(model, []).append(row)
        cells.append(cell)
    return [
        _Part(
            now.models[model], rows, [requests[row] for row in rows], [cells[row] for row in rows]
        )
        for model, rows in rows_of.items()
    ]


def _whole(now: ServedModels, model: str, requests: Sequence[AdRequest]) -> _Part:
    return _Part(now.models[model], range(len(requests)), requests, [None] * len(requests))
