"""Individual predictions: kept fairly, merged fairly, stored once."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from service.monitoring.counts import ModelVersion
from service.monitoring.sampled import SampledError, SampledPrediction, SampledWindow, merged
from service.sampling import Sampling
from service.state.sampled_windows import StoredSampledWindows
from service.state.store import open_state
from service.telemetry.reservoir import Reservoir

MODEL = ModelVersion("xgboost", "1")
START = 600


def reservoir(most: int = 10, seed: int = 1) -> Reservoir:
    return Reservoir(MODEL, window_seconds=60, most=most, rng=random.Random(seed))


def sampled(predictions: int, seen: int, *, label: float = 0.0) -> SampledWindow:
    return SampledWindow(
        model=MODEL,
        window_start=START,
        predictions_seen=seen,
        predictions=tuple(SampledPrediction(START + i, 0.01, label) for i in range(predictions)),
        errors_seen=0,
        errors=(),
        shortest_seconds=0.01,
        longest_seconds=0.02,
    )


@pytest.mark.parametrize("batch", [1, 3, 40])
def test_every_prediction_of_a_window_is_as_likely_to_be_kept(batch: int) -> None:
    kept: Counter[int] = Counter()
    rng = random.Random(5)
    for _ in range(2000):
        one = Reservoir(MODEL, window_seconds=60, most=10, rng=rng)
        for first in range(0, 120, batch):
            scores = np.arange(first, first + batch, dtype=np.float64)
            one.answered(START + first / 10, [0.01], [batch], scores)
        [window] = one.take_finished(START + 60)
        assert len({p.prediction for p in window.predictions}) == 10
        kept.update(int(p.prediction) for p in window.predictions)

    assert stats.chisquare([kept[i] for i in range(120)]).pvalue > 0.001


def test_a_window_with_few_predictions_keeps_them_all_with_exact_extremes() -> None:
    one = reservoir()
    one.answered(START, [0.02], [1], np.array([0.1]))
    one.answered(START + 59.9, [0.005, 0.006], [2, 1], np.array([0.2, 0.3, 0.35]))
    one.failed(START + 30, 0.7)
    one.answered(START + 60, [9.0], [1], np.array([0.4]))

    [window] = one.take_finished(START + 61)

    assert window.window_start == START
    assert [(p.prediction, p.latency_seconds) for p in window.predictions] == [
        (0.1, 0.02),
        (0.2, 0.005),
        (0.3, 0.005),
        (0.35, 0.006),
    ]
    assert window.errors == (SampledError(START + 30, 0.7),)
    assert (window.shortest_seconds, window.longest_seconds) == (0.005, 0.7)
    assert (window.predictions_seen, window.errors_seen) == (4, 1)


def test_errors_are_all_kept_up_to_the_bound() -> None:
    one = reservoir(most=5)
    for i in range(5):
        one.failed(START + i, 0.1)
    few = one.take_rest()[0]
    for i in range(500):
        one.failed(START + 60 + i / 10, 0.1)
    many = one.take_rest()[0]

    assert [error.at - START for error in few.errors] == [0, 1, 2, 3, 4]
    assert (len(many.errors), many.errors_seen) == (5, 500)


def test_a_window_without_requests_is_not_handed_over() -> None:
    assert reservoir().take_finished(START + 600) == []


def test_merged_samples_stand_for_all_workers_by_what_these_saw() -> None:
    # One saw 900 and the other 100: of 100 drawn about 90 are of the first (hypergeometric).
    parts = [sampled(100, 900, label=1.0), sampled(100, 100, label=2.0)]
    shares = []
    for start in range(START, START + 60 * 400, 60):
        window = merged([replace(part, window_start=start) for part in parts], most=100)
        assert len(window.predictions) == 100
        shares.append(sum(p.prediction == 1.0 for p in window.predictions))

    expected = stats.hypergeom(1000, 900, 100)
    assert np.mean(shares) == pytest.approx(expected.mean(), abs=4 * expected.std() / 20)
    assert np.var(shares) == pytest.approx(expected.var(), rel=0.35)
    assert window.predictions_seen == 1000


def test_merging_is_the_same_whoever_does_it() -> None:
    parts = [sampled(50, 700, label=1.0), sampled(50, 300, label=2.0)]

    assert merged(parts, most=50) == merged(parts, most=50)


def test_a_sampled_window_survives_its_text() -> None:
    window = replace(sampled(3, 7), errors=(SampledError(START + 0.1 + 0.2, 1e-9),), errors_seen=4)

    assert SampledWindow.from_json(window.to_json()) == window


@pytest.mark.parametrize("text", ["{}", "[]", '{"model": ["a", "b"]}', "nonsense"])
def test_what_is_no_sampled_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a sampled window|Expecting value"):
        SampledWindow.from_json(text)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoredSampledWindows]:
    with open_state(tmp_path / "state.db") as state:
        yield state.sampled_windows("instance:test")


def test_what_workers_kept_is_found_by_window_and_dropped_with_it(
    store: StoredSampledWindows,
) -> None:
    for worker, one in (("a", reservoir()), ("b", reservoir())):
        one.answered(START, [0.01], [1], np.array([0.1]))
        one.answered(START + 60, [0.01], [1], np.array([0.2]))
        sampling = Sampling(reservoirs=partial(tuple, [one]), store=store, worker=worker)
        sampling.collect(START + 61)
        sampling.store()
        sampling.store()
        sampling.collect_rest()
        sampling.store()

    first, second = store.of_window(START)[MODEL], store.of_window(START + 60)[MODEL]
    assert [[p.prediction for p in window.predictions] for window in first] == [[0.1], [0.1]]
    assert [[p.prediction for p in window.predictions] for window in second] == [[0.2], [0.2]]

    store.drop_before(START + 60)
    assert not store.of_window(START)
    assert len(store.of_window(START + 60)[MODEL]) == 2
