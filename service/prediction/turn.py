"""What is done for all calls of one turn together: score, name, render, record.

A model's cost per call is many times its cost per row, and so is that of numpy and of the metrics'
files. Here each is paid once a turn and model.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.monitoring.catalogue import ErrorType
from service.prediction.ad_request import AdRequest
from service.prediction.faults import FaultInjector
from service.prediction.prediction_id import Signer
from service.prediction.serving import Served, ServedModels
from service.prediction.shadow import ShadowScorer
from service.telemetry.recorder import Recorder

_LOGGER = logging.getLogger(__name__)


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


@dataclass(slots=True, eq=False)
class Call:
    """What one HTTP request asks."""

    now: ServedModels
    """What was served when it arrived; it is answered and counted by that."""
    assigned: bool
    """Whether the experiment chose the models."""
    arrived: float
    render: Render
    answer: asyncio.Future[bytes]
    parts: list["Part"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Part:
    """The rows of one call that go to one model, and what becomes of them."""

    call: Call
    served: Served
    rows: Sequence[int]
    """Their places in the call."""
    requests: Sequence[AdRequest]
    cells: Sequence[int | None]
    """Cell of each row's user; None where no experiment chose the model."""
    scores: NDArray[np.float64] | ErrorType = ErrorType.EXCEPTION
    predictions: Sequence[Prediction] = ()


Group = Sequence[Part]
"""Parts for one model version of one generation; not empty."""


def groups_of(calls: Sequence[Call]) -> Sequence[Group]:
    """Collect the parts that are scored and recorded together."""
    groups: dict[int, list[Part]] = {}
    for call in calls:
        for part in call.parts:
            groups.setdefault(id(part.served), []).append(part)
    return list(groups.values())


class TurnScorer:
    """Scores groups, and finishes calls of which every part has been scored."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        shadow: ShadowScorer,
        signer: Signer,
        faults: FaultInjector,
    ) -> None:
        self._recorder = recorder
        self._shadow = shadow
        self._signer = signer
        self._faults = faults
        self._failing: set[str] = set()

    def score(self, group: Group) -> None:
        """Score the parts together; those that fault injection draws fail."""
        spared = self._spared(group) if self._faults else group
        if spared:
            self._score(spared)

    def finish(self, calls: Sequence[Call], groups: Sequence[Group]) -> None:
        """Name, render and record what was scored; then let the answers leave.

        A call is recorded after it was rendered: a defect there is an error of its request.
        """
        now = time.time()
        for group in groups:
            self._name(_answered(group), milliseconds=int(now * 1000))
        finished = time.perf_counter()
        outcomes = [_outcome(call, finished - call.arrived) for call in calls]
        for group in groups:
            self._record(group, now=now, finished=finished)
        self._recorder.flush()
        for call, outcome in zip(calls, outcomes, strict=True):
            settle(call, outcome)

    def _spared(self, group: Group) -> Group:
        model, now = group[0].served.bundle.name, time.monotonic()
        spared = []
        for part in group:
            if self._faults.fails(model, now):
                part.scores = ErrorType.INJECTED_FAULT
            else:
                spared.append(part)
        return spared

    def _score(self, group: Group) -> None:
        """Score the parts together; where that fails, one by one, so that one row fails alone."""
        bundle = group[0].served.bundle
        try:
            scores = bundle.model.predict(bundle.encoder.encode(_requests(group)))
        except Exception:
            if len(group) > 1:
                for part in group:
                    self._score([part])
                return
            # Once a streak: a model that fails at every request must not fill the disk.
            if bundle.name not in self._failing:
                _LOGGER.exception("the model %s fails", bundle.name)
            self._failing.add(bundle.name)
            return
        self._failing.discard(bundle.name)
        all_finite = np.isfinite(scores).all()
        end = 0
        for part in group:
            start, end = end, end + len(part.requests)
            own = scores[start:end]
            finite = all_finite or np.isfinite(own).all()
            part.scores = own if finite else ErrorType.NON_FINITE_SCORE

    def _name(self, group: Group, *, milliseconds: int) -> None:
        if not group:
            return
        bundle, experiment = group[0].served.bundle, group[0].call.now.experiment
        scores: list[float] = _scores(group).tolist()
        ids = self._signer.sign(
            bundle.name,
            bundle.version,
            scores,
            [cell for part in group for cell in part.cells],
            experiment=experiment.fingerprint,
            milliseconds=milliseconds,
        )
        names = repeat(bundle.name), repeat(bundle.version)
        predictions = list(map(Prediction, ids, scores, *names))
        end = 0
        for part in group:
            start, end = end, end + len(part.requests)
            part.predictions = predictions[start:end]

    def _record(self, group: Group, *, now: float, finished: float) -> None:
        served = group[0].served
        for part in group:
            if isinstance(part.scores, ErrorType):
                seconds = finished - part.call.arrived
                served.recorder.failed(seconds, part.scores)
                served.reservoir.failed(now, seconds)
        answered = _answered(group)
        if not answered:
            return
        requests, scores = _requests(answered), _scores(answered)
        seconds_of = [finished - part.call.arrived for part in answered]
        served.recorder.answered(seconds_of, scores, served.bundle.encoder.value_indices(requests))
        served.reservoir.answered(now, seconds_of, [len(p.requests) for p in answered], scores)
        if served.assigned is not None:
            cells = [cell for part in answered for cell in part.cells if cell is not None]
            served.assigned.predicted(cells)
        generation = group[0].call.now
        if generation.shadows:
            salt = generation.experiment.salt
            for part in answered:
                if part.call.assigned:
                    self._shadow.offer(
                        generation.shadows, part.requests, _scores([part]), salt=salt
                    )


def settle(call: Call, outcome: bytes | Exception) -> None:
    """Give a call its answer, unless whoever asked has gone or it has one."""
    if call.answer.done():
        return
    if isinstance(outcome, Exception):
        call.answer.set_exception(outcome)
    else:
        call.answer.set_result(outcome)


def _outcome(call: Call, seconds: float) -> bytes | Exception:
    for part in call.parts:
        if isinstance(part.scores, ErrorType):
            return ModelFailedError(part.served.bundle.name, part.scores)
    try:
        return call.render(_in_order(call.parts), seconds * 1000)
    except Exception as defect:  # noqa: BLE001 - its request is counted like any other
        for part in call.parts:
            part.scores = ErrorType.EXCEPTION
        return defect


def _in_order(parts: Sequence[Part]) -> Sequence[Prediction]:
    if len(parts) == 1:
        return parts[0].predictions
    by_row = {
        row: prediction
        for part in parts
        for row, prediction in zip(part.rows, part.predictions, strict=True)
    }
    return [by_row[row] for row in range(len(by_row))]


def _answered(group: Group) -> Group:
    return [part for part in group if not isinstance(part.scores, ErrorType)]


def _requests(group: Group) -> Sequence[AdRequest]:
    if len(group) == 1:
        return group[0].requests
    return [request for part in group for request in part.requests]


def _scores(group: Group) -> NDArray[np.float64]:
    found = [part.scores for part in group if not isinstance(part.scores, ErrorType)]
    return found[0] if len(found) == 1 else np.concatenate(found)
