"""Clicks are counted once over SQLite and over PostgreSQL alike."""

import math
import secrets
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.clicks import Click, ClickSums
from service.monitoring.counts import ModelVersion
from service.state.store import State, open_state

MODEL = ModelVersion("m", "1")
HERE, THERE = 7, 2**32 - 1
EVER = (0.0, 1e12)


def click(
    prediction: float,
    *,
    seconds: float = 0,
    origin: int = HERE,
    version: str = "1",
    experiment: int = 5,
    cell: int | None = None,
) -> Click:
    return Click(
        key=secrets.token_bytes(16),
        origin=origin,
        model="m",
        version=version,
        milliseconds=round(seconds * 1000),
        prediction=prediction,
        experiment=experiment,
        cell=cell,
    )


def sums(state: State, start: float = 0, end: float = 1e12, origin: int | None = None) -> ClickSums:
    return state.clicks.sums(MODEL, start, end, origin=origin)


def test_sums_are_those_of_the_clicks(state: State) -> None:
    state.clicks.count([click(0.25), click(0.5)])
    state.clicks.count([click(0.5)])

    found = sums(state)

    # By hand: -ln(1/4) - 2 ln(1/2) = 4 ln 2; -ln(3/4) - 2 ln(1/2).
    assert found.prediction == 1.25
    assert found.negative_log == pytest.approx(4 * math.log(2), rel=1e-14)
    assert found.negative_log_complement == pytest.approx(2 * math.log(2) - math.log(0.75))
    expected, _ = np.histogram([0.25, 0.5, 0.5], [-math.inf, *PREDICTION_BOUNDS, math.inf])
    assert found.by_bucket.tolist() == expected.tolist()


def test_a_click_counts_once_whoever_sends_it_again(state: State, url: str) -> None:
    clicks = [click(0.1, cell=3) for _ in range(5)]

    first = state.clicks.count(clicks[:3])
    with open_state(url) as other:
        second = other.clicks.count(clicks)

    assert set(first) == {c.key for c in clicks[:3]}
    assert set(second) == {c.key for c in clicks[3:]}
    assert sums(state).count == 5
    assert state.clicks.by_cell(5, MODEL, *EVER, origin=None)[3] == 5


def test_writers_at_the_same_time_lose_and_double_nothing(url: str) -> None:
    clicks = [click(0.1, seconds=60 * (i % 7), cell=i % 64) for i in range(400)]

    def count(turn: int) -> int:
        order = clicks if turn % 2 else clicks[::-1]
        with open_state(url, timeout_seconds=30) as own:
            return sum(len(own.clicks.count(order[i : i + 50])) for i in range(0, 400, 50))

    open_state(url).close()
    with ThreadPoolExecutor(4) as pool:
        new = sum(pool.map(count, range(4)))

    with open_state(url) as state:
        assert new == sums(state).count == 400
        assert state.clicks.by_cell(5, MODEL, *EVER, origin=None).sum() == 400


def test_a_span_holds_the_minutes_of_its_predictions(state: State) -> None:
    state.clicks.count([click(0.1, seconds=s) for s in (59.999, 60, 119.999, 120)])

    assert sums(state, 60, 120).count == 2
    assert sums(state, 0, 60).count == 1
    by_minute = state.clicks.sums_by_minute(MODEL, 0, 1000, origin=None)
    assert {minute: part.count for minute, part in by_minute.items()} == {0: 1, 60: 2, 120: 1}
    assert by_minute[60].prediction == pytest.approx(0.2)


def test_instances_and_versions_are_told_apart(state: State) -> None:
    state.clicks.count([click(0.1), click(0.2, origin=THERE), click(0.3, version="2")])

    assert sums(state, origin=HERE).prediction == 0.1
    assert sums(state, origin=THERE).prediction == 0.2
    assert sums(state).count == 2


def test_cells_are_those_of_one_experiment(state: State) -> None:
    state.clicks.count(
        [click(0.1, cell=0), click(0.1, cell=63), click(0.1, cell=63, experiment=6), click(0.1)]
    )

    cells = state.clicks.by_cell(5, MODEL, *EVER, origin=None)

    assert cells.shape == (64,)
    assert {i: n for i, n in enumerate(cells.tolist()) if n} == {0: 1, 63: 1}
    assert sums(state).count == 4


def test_nothing_is_no_click(state: State) -> None:
    assert list(state.clicks.count([])) == []
    assert sums(state).count == 0
    assert sums(state).negative_log == 0


def test_what_no_window_reaches_is_forgotten(state: State) -> None:
    old, recent = click(0.1, seconds=60, cell=1), click(0.1, seconds=600, cell=1)
    state.clicks.count([old, recent])

    state.clicks.forget_before(expired=60, cohorts=60)
    assert sums(state).count == 2
    assert list(state.clicks.count([old])) == []

    state.clicks.forget_before(expired=120, cohorts=0)
    assert sums(state).count == 2
    assert set(state.clicks.count([old, recent])) == {old.key}

    state.clicks.forget_before(expired=120, cohorts=120)
    assert sums(state).count == 1
    assert state.clicks.by_cell(5, MODEL, *EVER, origin=None)[1] == 1
