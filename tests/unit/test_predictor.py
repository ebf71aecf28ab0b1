"""The predictor under models that misbehave: every call is answered and counted once."""

import asyncio
import gc
import logging
import math
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline
from service.monitoring.catalogue import ErrorType
from service.prediction.ad_request import AdRequest
from service.prediction.experiment import Experiment
from service.prediction.faults import FaultInjector
from service.prediction.feature_table import table_of
from service.prediction.features import FeatureEncoder
from service.prediction.model import Evaluator, ModelBundle, ModelMetadata
from service.prediction.prediction_id import PredictionId, Signer
from service.prediction.predictor import Predictor
from service.prediction.release import Release
from service.prediction.request_keys import KEYS
from service.prediction.serving import Serving
from service.prediction.shadow import ShadowScorer
from service.prediction.turn import ModelFailedError, Prediction
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder
from service.telemetry.registry import registry_of
from service.telemetry.reservoir import Reservoir

KEY = b"k" * 32
NOW = datetime(2026, 11, 23, tzinfo=UTC)
VERSION = "20261123T000000Z-abcdef"
NAMES = FeatureEncoder({key.table: {} for key in KEYS}).names


SMALL_CALL_ANSWERED = threading.Event()


@dataclass(frozen=True)
class HourModel:
    """Answers a hundredth of the hour; fails at 13, knows no number at 14, waits at 16."""

    kind: ClassVar[str] = "hour"
    file_name: ClassVar[str] = "hour.json"
    evaluator: ClassVar[Evaluator] = Evaluator("python")
    feature_names: tuple[str, ...] = NAMES

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        hours = features[:, self.feature_names.index("hour_effect")].astype(np.float64)
        if (hours == 13).any():
            raise RuntimeError("thirteen")
        if (hours == 16).any() and not SMALL_CALL_ANSWERED.wait(10):
            raise TimeoutError("nobody else was answered")
        return np.where(hours == 14, math.nan, hours / 100)

    def to_bytes(self) -> bytes:
        return b""

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        del content
        return cls()


def bundle() -> ModelBundle:
    hour_key = next(key for key in KEYS if key.table == "hour")
    columns = [[float(hour) for hour in range(24)], *[[0.0] * 24] * (len(hour_key.features) - 1)]
    hours = table_of(range(24), columns)
    tables = {key.table: hours if key.table == "hour" else {} for key in KEYS}
    return ModelBundle(
        name="m",
        version=VERSION,
        model=HourModel(),
        encoder=FeatureEncoder(tables),
        baseline=Baseline(
            model_name="m",
            model_version=VERSION,
            mean_prediction=0.1,
            std_prediction=0.1,
            source="training",
            created_at=NOW,
            created_by="test",
        ),
        metadata=ModelMetadata(
            created_at=NOW,
            data_description="none",
            train_rows=1,
            validation_rows=1,
            validation_metrics={},
            library_versions={},
        ),
    )


@dataclass(frozen=True)
class World:
    predictor: Predictor
    metrics: MetricsFolder

    def counted(self, name: str, **labels: str) -> float:
        return math.fsum(
            sample.value
            for family in registry_of(self.metrics).collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def ask(self, *calls: Sequence[int]) -> list[bytes | BaseException]:
        """Send calls of one row an hour, all within one turn of the loop."""

        async def run() -> list[bytes | BaseException]:
            return await asyncio.gather(
                *(
                    self.predictor.answer(
                        [AdRequest("u", "a", "d", "p", hour, 0) for hour in hours],
                        model_name="m",
                        arrived=time.perf_counter(),
                        render=render,
                    )
                    for hours in calls
                ),
                return_exceptions=True,
            )

        return asyncio.run(run())


def render(predictions: Sequence[Prediction], latency_ms: float) -> bytes:
    assert latency_ms > 0
    if any(p.predicted_ctr == 0.15 for p in predictions):
        raise ZeroDivisionError("a defect of ours")
    return ",".join(f"{p.predicted_ctr:.2f}" for p in predictions).encode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    metrics = MetricsFolder.begin(tmp_path, 1.0)
    files = metrics.join()
    recorder = Recorder(files)
    serving = Serving(
        Release(
            generation=1,
            bundles={"m": bundle()},
            experiment=Experiment(name="t", salt="s", weights={"m": 1.0}),
        ),
        recorder=recorder,
        reservoir=lambda model: Reservoir(model, window_seconds=300, most=10, rng=random.Random(1)),
    )
    predictor = Predictor(
        serving=lambda: serving.now,
        recorder=recorder,
        shadow=ShadowScorer(recorder),
        signer=Signer(KEY, origin=3),
        faults=FaultInjector.none(),
    )
    yield World(predictor, metrics)
    files.close()


@pytest.mark.parametrize("rows", [1, 3, 2000])
def test_nothing_of_an_answered_call_waits_for_the_garbage_collection(
    world: World, rows: int
) -> None:
    async def unreachable() -> int:
        call = partial(
            world.predictor.answer, model_name="m", arrived=time.perf_counter(), render=render
        )
        requests = [AdRequest("u", "a", "d", "p", 1, 0)] * rows
        gc.collect()
        await call(requests)
        return gc.collect()

    gc.disable()
    try:
        # What is made once, or left by others meanwhile, is not left by each call.
        assert min(asyncio.run(unreachable()) for _ in range(5)) == 0
    finally:
        gc.enable()


def test_calls_of_one_turn_get_their_own_rows_back(world: World) -> None:
    assert world.ask([1, 2], [3], [4, 5, 6]) == [b"0.01,0.02", b"0.03", b"0.04,0.05,0.06"]
    assert world.counted("ctr_requests_total", outcome="success") == 3
    assert world.counted("ctr_prediction_ratio_count") == 6
    assert world.counted("ctr_feature_values_total", feature="hour", value="5") == 1


def test_a_large_call_is_scored_beside_the_loop(world: World) -> None:
    SMALL_CALL_ANSWERED.clear()

    async def ask(*hours: int) -> bytes:
        return await world.predictor.answer(
            [AdRequest("u", "a", "d", "p", hour, 0) for hour in hours],
            model_name="m",
            arrived=time.perf_counter(),
            render=lambda predictions, _: str(len(predictions)).encode(),
        )

    async def run() -> bytes:
        large = asyncio.create_task(ask(*[16] * 1000))
        assert await ask(1) == b"1"
        SMALL_CALL_ANSWERED.set()
        return await large

    assert asyncio.run(run()) == b"1000"
    assert world.counted("ctr_requests_total", outcome="success") == 2
    assert world.counted("ctr_prediction_ratio_count") == 1001
    assert world.counted("ctr_requests_in_progress") == 0


def test_a_row_that_breaks_the_model_fails_its_own_call_alone(world: World) -> None:
    good, bad, also_good = world.ask([1], [2, 13], [3])

    assert (good, also_good) == (b"0.01", b"0.03")
    assert isinstance(bad, ModelFailedError)
    assert bad.error_type is ErrorType.EXCEPTION
    assert world.counted("ctr_requests_total", outcome="success") == 2
    assert world.counted("ctr_request_errors_total", error_type="exception") == 1
    assert world.counted("ctr_prediction_ratio_count") == 2


def test_a_score_that_is_no_number_is_an_error_and_never_answered(world: World) -> None:
    good, bad = world.ask([1], [14])

    assert good == b"0.01"
    assert isinstance(bad, ModelFailedError)
    assert world.counted("ctr_request_errors_total", error_type="non_finite_score") == 1
    assert world.counted("ctr_prediction_ratio_sum") == pytest.approx(0.01)


def test_a_defect_in_answering_is_counted_and_leaves_nobody_waiting(world: World) -> None:
    good, broken = world.ask([1], [15])

    assert good == b"0.01"
    assert isinstance(broken, ZeroDivisionError)
    assert world.counted("ctr_requests_total", outcome="error") == 1
    assert world.counted("ctr_requests_in_progress") == 0


def test_requests_that_cannot_be_encoded_are_answered_and_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect of ours")

    with monkeypatch.context() as patched:
        patched.setattr(FeatureEncoder, "encode", broken)
        outcomes = world.ask([1], [2] * 1000)
    [good] = world.ask([1])

    assert all(isinstance(outcome, ModelFailedError) for outcome in outcomes)
    assert good == b"0.01"
    assert world.counted("ctr_requests_total", outcome="error") == 2
    assert world.counted("ctr_requests_total", outcome="success") == 1
    assert world.counted("ctr_requests_in_progress") == 0


def test_a_model_that_keeps_failing_is_logged_once_a_streak(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for hours in ([13], [13], [1], [13]):
            world.ask(hours)

    assert len([r for r in caplog.records if "the model m fails" in r.message]) == 2


def test_every_count_adds_up_whatever_happened(world: World) -> None:
    world.ask([1], [13], [14], [15], [2, 3], [1, 14])

    requests = world.counted("ctr_requests_total")
    assert requests == world.counted("ctr_request_duration_seconds_count") == 6
    assert world.counted("ctr_requests_total", outcome="error") == 4
    assert world.counted("ctr_request_errors_total") == 4
    assert world.counted("ctr_requests_in_progress") == 0


def test_the_id_of_an_answer_says_what_was_answered(world: World) -> None:
    seen: list[Prediction] = []

    def keep(predictions: Sequence[Prediction], _: float) -> bytes:
        seen.extend(predictions)
        return b""

    async def run() -> None:
        await world.predictor.answer(
            [AdRequest("u", "a", "d", "p", 7, 0)] * 2,
            model_name=None,
            arrived=time.perf_counter(),
            render=keep,
        )

    asyncio.run(run())

    first, second = (PredictionId.verified(p.prediction_id, KEY).identity for p in seen)
    assert (first.model, first.version, first.score) == ("m", VERSION, 0.07)
    assert abs(first.milliseconds / 1000 - time.time()) < 60
    assert first.nonce != second.nonce
