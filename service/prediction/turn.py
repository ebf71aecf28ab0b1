"""What is done for all calls of one turn together: score, name, render, record.

A model's cost per call is many times its cost per row, and so is that of numpy and of the metrics'
files. Here each is paid once a turn and model.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, repeat
from typing import NamedTuple, Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from service.monitoring.catalogue import ErrorType
from service.prediction.ad_request import AdRequest
from service.prediction.faults import FaultInjector
from service.prediction.prediction_id import Signer
from service.prediction.serving import Served, ServedModels
from service.prediction.shadow import ShadowScorer
from service.request_id import Request, handling
from service.telemetry.recorder import Recorder

_LOGGER = logging.getLogger(__name__)


class ModelFailedError(Exception):
    """A model gave no usable score; it has been recorded."""

    def __init__(self, model: str, error_type: ErrorType) -> None:
        super().__init__(f"the model {model!r} failed: {error_type}")
        self.model = model
        self.error_type = error_type


class Prediction(Struct, frozen=True, gc=False):
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
    request: Request | None = None
    """The HTTP request that asks, for what is logged about it."""
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
    error: ErrorType | None = None
    predictions: Sequence[Prediction] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Parts for one model version of one generation, to be scored and recorded together."""

    parts: Sequence[Part]
    """Not empty."""
    requests: Sequence[AdRequest]
    """Of all parts, one part after the other."""
    features: NDArray[np.float32]
    """Of the requests, shape ``(n, d)``."""
    value_indices: NDArray[np.int64]
    """What is to be counted of the requests, as the encoder gives it."""

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Self:
        """Put parts together."""
        requests = parts[0].requests
        if len(parts) > 1:
            requests = list(chain.from_iterable(part.requests for part in parts))
        encoder = parts[0].served.bundle.encoder
        # Both at once: what the second looks up is in the processor's cache after the first.
        return cls(parts, requests, encoder.encode(requests), encoder.value_indices(requests))

    @property
    def served(self) -> Served:
        """The model that they go to."""
        return self.parts[0].served


class Scored(NamedTuple):
    """A group with its scores."""

    group: Group
    scores: NDArray[np.float64]
    """Of the group's requests, shape ``(n,)``, all finite."""

    def without_errors(self) -> Self | None:
        """Leave out the parts that have failed since."""
        parts = self.group.parts
        kept = [part for part in parts if part.error is None]
        if not kept:
            return None
        keep = np.repeat([p.error is None for p in parts], [len(p.requests) for p in parts])
        return type(self)(Group.of(kept), self.scores[keep])


def groups_of(calls: Sequence[Call]) -> Sequence[Group]:
    """Collect the parts that are scored and recorded together."""
    parts: dict[int, list[Part]] = {}
    for call in calls:
        for part in call.parts:
            parts.setdefault(id(part.served), []).append(part)
    return list(map(Group.of, parts.values()))


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
        self._gave_up = False

    def score(self, group: Group) -> Sequence[Scored]:
        """Score a group; where that fails, part by part, so that one row fails alone.

        Returns:
            What could be scored; every other part has its error.
        """
        if self._faults:
            parts = self._spared(group)
            return self._scored(Group.of(parts)) if parts else ()
        return self._scored(group)

    def finish(self, calls: Sequence[Call], scored: Sequence[Scored]) -> None:
        """Name, render and record what was scored; then let the answers leave.

        A call is recorded after it was rendered: a defect there is an error of its request.
        """
        try:
            outcomes = self._finished(calls, scored)
        except Exception as defect:  # noqa: BLE001 - must not leave anybody waiting for ever
            outcomes = [defect] * len(calls)
        for call, outcome in zip(calls, outcomes, strict=True):
            _settle(call, outcome)

    def give_up(self, calls: Sequence[Call], defect: Exception) -> None:
        """Answer calls that a defect kept from being scored; each counts as an error."""
        # Once a streak, as above all a defect must not fill the disk.
        if not self._gave_up:
            with handling(calls[0].request):
                _LOGGER.error("requests could not be scored", exc_info=defect)
        self._gave_up = True
        for call in calls:
            for part in call.parts:
                part.error = ErrorType.EXCEPTION
        self.finish(calls, ())

    def _finished(
        self, calls: Sequence[Call], scored: Sequence[Scored]
    ) -> Sequence[bytes | Exception]:
        now = time.time()
        for each in scored:
            self._name(each, milliseconds=int(now * 1000))
        finished = time.perf_counter()
        outcomes = [_outcome(call, finished - call.arrived) for call in calls]
        defects = any(isinstance(outcome, Exception) for outcome in outcomes)
        if defects:
            self._record_errors(calls, now=now, finished=finished)
            scored = [kept for each in scored if (kept := each.without_errors())]
        for each in scored:
            self._record(each, now=now, finished=finished)
        self._recorder.flush()
        return outcomes

    def _spared(self, group: Group) -> Sequence[Part]:
        model, now = group.served.bundle.name, time.monotonic()
        for part in group.parts:
            if self._faults.fails(model, now):
                part.error = ErrorType.INJECTED_FAULT
        return [part for part in group.parts if part.error is None]

    def _scored(self, group: Group) -> Sequence[Scored]:
        bundle = group.served.bundle
        error = None
        try:
            scores = bundle.model.predict(group.features)
            if not np.isfinite(scores).all():
                error = ErrorType.NON_FINITE_SCORE
        except Exception:
            error = ErrorType.EXCEPTION
            # Once a streak: a model that fails at every request must not fill the disk.
            if len(group.parts) == 1 and bundle.name not in self._failing:
                with handling(group.parts[0].call.request):
                    _LOGGER.exception("the model %s fails", bundle.name)
                self._failing.add(bundle.name)
        if error is not None:
            if len(group.parts) > 1:
                alone = (self._scored(Group.of([part])) for part in group.parts)
                return list(chain.from_iterable(alone))
            group.parts[0].error = error
            return ()
        self._failing.discard(bundle.name)
        self._gave_up = False
        return [Scored(group, scores)]

    def _name(self, scored: Scored, *, milliseconds: int) -> None:
        group = scored.group
        bundle, experiment = group.served.bundle, group.parts[0].call.now.experiment
        scores: list[float] = scored.scores.tolist()
        ids = self._signer.sign(
            bundle.name,
            bundle.version,
            scores,
            [cell for part in group.parts for cell in part.cells],
            experiment=experiment.fingerprint,
            milliseconds=milliseconds,
        )
        names = repeat(bundle.name), repeat(bundle.version)
        predictions = list(map(Prediction, ids, scores, *names))
        end = 0
        for part in group.parts:
            start, end = end, end + len(part.requests)
            part.predictions = predictions[start:end]

    def _record(self, scored: Scored, *, now: float, finished: float) -> None:
        group, scores = scored
        served, parts = group.served, group.parts
        seconds = [finished - part.call.arrived for part in parts]
        served.recorder.answered(seconds, scores, group.value_indices)
        served.reservoir.answered(now, seconds, [len(p.requests) for p in parts], scores)
        if served.assigned is not None:
            cells = [cell for part in parts for cell in part.cells if cell is not None]
            served.assigned.predicted(cells)
        generation = parts[0].call.now
        if generation.shadows:
            assigned = np.repeat([p.call.assigned for p in parts], [len(p.requests) for p in parts])
            self._shadow.offer(
                generation.shadows,
                list(compress(group.requests, assigned)),
                scores[assigned],
                salt=generation.experiment.salt,
            )

    def _record_errors(self, calls: Sequence[Call], *, now: float, finished: float) -> None:
        for call in calls:
            for part in call.parts:
                if part.error is not None:
                    seconds = finished - call.arrived
                    part.served.recorder.failed(seconds, part.error)
                    part.served.reservoir.failed(now, seconds)


def _settle(call: Call, outcome: bytes | Exception) -> None:
    """Give a call its answer, unless whoever asked has gone or it has one."""
    # They know the call: without the circle all that the request needed goes with it, and does
    # not fill the memory until a garbage collection.
    call.parts.clear()
    if call.answer.done():
        return
    if isinstance(outcome, Exception):
        call.answer.set_exception(outcome)
    else:
        call.answer.set_result(outcome)


def _outcome(call: Call, seconds: float) -> bytes | Exception:
    for part in call.parts:
        if part.error is not None:
            return ModelFailedError(part.served.bundle.name, part.error)
    try:
        return call.render(_in_order(call.parts), seconds * 1000)
    except Exception as defect:  # noqa: BLE001 - its request is counted like any other
        for part in call.parts:
            part.error = ErrorType.EXCEPTION
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
