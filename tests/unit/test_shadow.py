"""Shadow models: what they do is counted apart, and nothing that they do reaches an answer."""

import asyncio
import hashlib
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_versions import first_version
from numpy.typing import NDArray
from scipy import stats

from service.monitoring.shadow import shadow_statistics
from service.monitoring.snapshot import Series
from service.monitoring.window import Window
from service.prediction.ad_request import AdRequest
from service.prediction.experiment import Experiment, ExperimentError
from service.prediction.faults import FaultInjector
from service.prediction.model import Evaluator, ModelBundle
from service.prediction.prediction_id import Signer
from service.prediction.predictor import Predictor
from service.prediction.release import Release
from service.prediction.serving import Serving
from service.prediction.shadow import ShadowScorer, is_drawn
from service.prediction.turn import Prediction
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder
from service.telemetry.registry import registry_of
from service.telemetry.reservoir import Reservoir


@dataclass(frozen=True)
class Fickle:
    """Fails wherever an odd number of rows comes, gives no number for the first of even ones."""

    kind: ClassVar[str] = "fickle"
    file_name: ClassVar[str] = "fickle.json"
    evaluator: ClassVar[Evaluator] = Evaluator("python")
    feature_names: tuple[str, ...]

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        if len(features) % 2:
            raise RuntimeError("odd")
        return np.array([math.nan, *[0.25] * (len(features) - 1)])

    def to_bytes(self) -> bytes:
        return b""

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        del content
        return cls(())


@dataclass(frozen=True)
class World:
    predictor: Predictor
    scorer: ShadowScorer
    metrics: MetricsFolder

    def counted(self, name: str, **labels: str) -> float:
        return math.fsum(
            sample.value
            for family in registry_of(self.metrics).collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def ask(self, rows: int, *, model: str | None = None) -> bytes:
        """Send one batch, and score what it leaves for the shadow."""

        async def run() -> bytes:
            answer = await self.predictor.answer(
                [AdRequest(f"u{i}", "a", "d", "p", i % 24, 0) for i in range(rows)],
                model_name=model,
                arrived=time.perf_counter(),
                render=render,
            )
            assert self.counted("ctr_shadow_predictions_total") == 0  # the answer comes first
            self.scorer.finish()
            return answer

        return asyncio.run(run())


def render(predictions: Sequence[Prediction], latency_ms: float) -> bytes:
    del latency_ms
    return ",".join(f"{p.model_name} {p.predicted_ctr:.4f}" for p in predictions).encode()


def world(folder: Path, dark: ModelBundle, share: float) -> Iterator[World]:
    metrics = MetricsFolder.begin(folder / "metrics", 1.0)
    files = metrics.join()
    recorder = Recorder(files)
    live = first_version(folder / "models", "live")
    serving = Serving(
        Release(
            generation=1,
            bundles={"live": live, "dark": dark},
            experiment=Experiment(name="t", salt="s", weights={"live": 1}, shadow={"dark": share}),
        ),
        recorder=recorder,
        reservoir=lambda model: Reservoir(model, window_seconds=300, most=5, rng=random.Random(1)),
    )
    scorer = ShadowScorer(recorder)
    predictor = Predictor(
        serving=lambda: serving.now,
        recorder=recorder,
        shadow=scorer,
        signer=Signer(b"k" * 32, origin=1),
        faults=FaultInjector.none(),
    )
    yield World(predictor, scorer, metrics)
    files.close()


@pytest.fixture
def fickle(tmp_path: Path) -> Iterator[World]:
    dark = first_version(tmp_path / "models", "dark")
    yield from world(tmp_path, replace(dark, model=Fickle(dark.model.feature_names)), 1.0)


LIVE = f"live {1 / (1 + math.exp(3)):.4f}".encode()


def test_a_shadow_model_that_fails_is_counted_and_changes_no_answer(
    fickle: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert fickle.ask(3) == b",".join([LIVE] * 3)

    # Three rows at once fail, and so does each of them alone.
    assert fickle.counted("ctr_shadow_predictions_total", model="dark", outcome="error") == 3
    assert fickle.counted("ctr_requests_total", model="live", outcome="success") == 1
    assert fickle.counted("ctr_requests_total", model="dark") == 0
    assert fickle.counted("ctr_request_errors_total") == 0
    assert len(caplog.records) == 1


def test_a_score_that_is_no_number_is_an_error_and_the_others_count(fickle: World) -> None:
    assert fickle.ask(4) == b",".join([LIVE] * 4)

    assert fickle.counted("ctr_shadow_predictions_total", outcome="error") == 1
    assert fickle.counted("ctr_shadow_predictions_total", outcome="success") == 3
    assert fickle.counted("ctr_shadow_prediction_ratio_sum") == pytest.approx(0.75)
    assert fickle.counted("ctr_shadow_prediction_ratio_count") == 3
    assert fickle.counted("ctr_prediction_ratio_count", model="dark") == 0


def test_what_a_model_is_asked_by_name_is_scored_in_no_shadow(fickle: World) -> None:
    fickle.ask(4, model="live")

    assert fickle.counted("ctr_shadow_predictions_total") == 0


def test_more_than_is_scored_at_once_is_scored_in_order_and_none_is_lost(tmp_path: Path) -> None:
    dark = first_version(tmp_path / "models", "dark")
    for asked in world(tmp_path, dark, 0.5):
        asked.ask(2000)
        drawn = asked.counted("ctr_shadow_predictions_total", outcome="success")
        differences = asked.counted("ctr_shadow_difference_ratio_squared_total")

    expected = sum(
        is_drawn(AdRequest(f"u{i}", "a", "d", "p", i % 24, 0), 0.5, salt="s", model="dark")
        for i in range(2000)
    )
    assert drawn == expected
    assert stats.binomtest(expected, 2000, 0.5).pvalue > 0.001
    assert differences == 0  # the same model answered


def test_the_draw_is_the_hash_of_the_request_whatever_the_assignment() -> None:
    requests = [AdRequest(f"u{i}", "a", "d", "p", 1, 2) for i in range(4000)]
    drawn = [is_drawn(r, 0.25, salt="s", model="m") for r in requests]

    for request, one in zip(requests[:20], drawn, strict=False):
        text = f"shadow\x1fs\x1fm\x1f{request.user_id}\x1fa\x1fd\x1fp\x1f1\x1f2"
        assert one == (hashlib.blake2b(text.encode(), digest_size=8).digest()[0] < 64)
    assert stats.binomtest(sum(drawn), 4000, 0.25).pvalue > 0.001
    half = Experiment(name="t", salt="s", weights={"a": 1, "b": 1})
    both = sum(
        one and half.assign(r.user_id).model == "a" for r, one in zip(requests, drawn, strict=True)
    )
    assert stats.binomtest(both, sum(drawn), 0.5).pvalue > 0.001


@pytest.mark.parametrize(
    ("shadow", "named"),
    [
        ({"b": 0.0}, "shadow.b"),
        ({"b": 1.5}, "shadow.b"),
        ({"b": math.nan}, "shadow.b"),
        ({"a": 0.5}, "shadow.a: it answers already"),
    ],
)
def test_a_share_that_cannot_be_is_refused(shadow: dict[str, float], named: str) -> None:
    with pytest.raises(ExperimentError, match=named):
        Experiment(name="t", salt="s", weights={"a": 1, "b": 0}, shadow=shadow)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("shadow = 1", "shadow: make it a table"),
        ("[shadow]\nb = true", "shadow.b: True is not a number"),
        ("[shadow]\nc = 0.5", "shadow.c: there is no such model"),
    ],
)
def test_a_wrong_shadow_table_is_refused(tmp_path: Path, table: str, named: str) -> None:
    file = tmp_path / "experiment.toml"
    first, second = ("", table) if table.startswith("[") else (table, "")
    file.write_text(f"name = 't'\nsalt = 's'\n{first}\n[variants]\na = 1\n{second}\n")

    with pytest.raises(ExperimentError, match=named):
        Experiment.load(file, models=["a", "b"])


def test_a_shadow_model_changes_neither_the_assignment_nor_the_test_s_identity() -> None:
    plain = Experiment(name="t", salt="s", weights={"a": 1, "b": 1})
    shaded = replace(plain, shadow={"c": 0.5})

    assert shaded.fingerprint == plain.fingerprint
    assert all(shaded.assign(f"u{i}") == plain.assign(f"u{i}") for i in range(100))


pairs = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=300)


@given(pairs, st.integers(0, 3))
def test_statistics_are_those_of_the_raw_scores(
    scored: list[tuple[float, float]], errors: int
) -> None:
    shadow, answered = np.array(scored).T
    differences = shadow - answered
    labels = (("model", "m"), ("version", "v"))

    def series(name: str, **more: str) -> Series:
        return Series(name, tuple(sorted([*labels, *more.items()])))

    window = Window(
        start=0.0,
        end=1.0,
        increases={
            series("ctr_shadow_predictions_total", outcome="success"): float(len(scored)),
            series("ctr_shadow_predictions_total", outcome="error"): float(errors),
            series("ctr_shadow_prediction_ratio_sum"): float(shadow.sum()),
            series("ctr_shadow_prediction_ratio_squared_total"): float(shadow @ shadow),
            series("ctr_shadow_answered_ratio_total"): float(answered.sum()),
            series("ctr_shadow_difference_ratio_squared_total"): float(differences @ differences),
            series("ctr_prediction_ratio_sum"): 7.0,
        },
    )

    [found] = shadow_statistics(window)

    assert (found.predictions, found.errors) == (len(scored), errors)
    assert found.error_ratio == errors / (errors + len(scored))
    assert found.mean_prediction == pytest.approx(shadow.mean(), abs=1e-12)
    assert found.std_prediction == pytest.approx(shadow.std(), abs=1e-6)
    assert found.mean_answered == pytest.approx(answered.mean(), abs=1e-12)
    assert found.mean_difference == pytest.approx(differences.mean(), abs=1e-12)
    assert found.std_difference == pytest.approx(differences.std(), abs=1e-6)
    if len(scored) < 100:
        assert found.mean_difference_interval is None
    elif differences.std() > 1e-3:
        expected = stats.norm.interval(
            0.95, differences.mean(), differences.std() / math.sqrt(len(scored))
        )
        assert found.mean_difference_interval == pytest.approx(expected, abs=1e-6)


def test_without_a_prediction_nothing_is_known() -> None:
    series = Series(
        "ctr_shadow_predictions_total",
        (("model", "m"), ("outcome", "success"), ("version", "v")),
    )
    [found] = shadow_statistics(Window(start=0.0, end=1.0, increases={series: 0.0}))

    assert found.predictions == 0
    assert found.error_ratio is None
    assert (found.mean_prediction, found.std_prediction, found.mean_answered) == (None,) * 3
    assert (found.mean_difference, found.mean_difference_interval) == (None, None)
