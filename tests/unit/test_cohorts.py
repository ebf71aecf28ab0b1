"""A cohort has the predictions of whole minutes and exactly the clicks on them."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.monitoring import catalogue
from service.monitoring.clicks import Click, Cohort
from service.monitoring.counts import ModelVersion
from service.monitoring.history import History
from service.monitoring.snapshot import Series, Snapshot
from service.sources.cohorts import Cohorts
from service.sources.history_source import HistorySource
from service.state.store import State, open_state

MODEL = ModelVersion("m", "1")
LABELS = (("model", "m"), ("version", "1"))
HERE = 4


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def history(state: State) -> History:
    return state.history("s")


@pytest.fixture
def cohorts(state: State, history: History) -> Cohorts:
    def no_reading() -> Snapshot:
        raise AssertionError("cohorts are of the past")

    return Cohorts(
        source=HistorySource(no_reading, history),
        clicks=state.clicks,
        origin=HERE,
        attribution_seconds=100.0,
    )


def reading(at: float, predictions: float, *, epoch: float = 1.0) -> Snapshot:
    """Everything that was predicted so far was 0.5."""
    bucket = f"{catalogue.PREDICTION.name}_bucket"
    counters = {
        Series(bucket, (("le", "1.0"), *LABELS)): predictions,
        Series(bucket, (("le", "+Inf"), *LABELS)): predictions,
        Series(f"{catalogue.PREDICTION.name}_sum", LABELS): predictions / 2,
        Series(catalogue.PREDICTION_SQUARED.name, LABELS): predictions / 4,
        Series(catalogue.PREDICTION_NEGATIVE_LOG_COMPLEMENT.name, LABELS): predictions * 0.7,
    }
    return Snapshot(at=at, epoch=epoch, counters=counters, gauges={})


def click_at(state: State, *seconds: float) -> None:
    state.clicks.count(
        [
            Click(
                key=secrets.token_bytes(16),
                origin=HERE,
                model="m",
                version="1",
                milliseconds=round(at * 1000),
                prediction=0.5,
                experiment=0,
                cell=None,
            )
            for at in seconds
        ]
    )


def sizes(cohort: Cohort) -> tuple[float, float]:
    return cohort.predictions.count, cohort.clicks.count


def test_only_minutes_whose_clicks_are_all_in_are_mature(cohorts: Cohorts) -> None:
    assert cohorts.mature_until(700.0) == 600
    assert cohorts.mature_until(719.9) == 600
    assert cohorts.mature_until(760.0) == 660


def test_a_cohort_is_cut_at_the_boundaries_of_the_clock(
    state: State, history: History, cohorts: Cohorts
) -> None:
    for minute, predictions in ((60, 10), (120, 30), (180, 70)):
        # Read a moment after the boundary.
        history.append(minute, reading(minute + 0.02, predictions))
    click_at(state, 59.9, 60.0, 100.0, 119.9, 120.0, 180.0)

    whole = cohorts.between(MODEL, 60, 180)

    assert whole is not None
    assert sizes(whole) == (60, 4)
    assert whole.predictions.total == 30
    assert whole.negative_log_complement == pytest.approx(42)
    assert [sizes(c) for c in cohorts.minutes(MODEL, 60, 180)] == [(20, 3), (40, 1)]


def test_a_gap_in_the_history_is_one_longer_cohort(
    state: State, history: History, cohorts: Cohorts
) -> None:
    for minute, predictions in ((60, 10), (240, 50), (300, 60)):
        history.append(minute, reading(minute + 0.02, predictions))
    click_at(state, 70, 130, 200, 250)

    assert [sizes(c) for c in cohorts.minutes(MODEL, 60, 300)] == [(40, 3), (10, 1)]
    missing = cohorts.between(MODEL, 120, 300)
    assert missing is not None
    assert sizes(missing) == (50, 4)
    # What was predicted in the gap comes with the first reading after it.
    before = cohorts.between(MODEL, 0, 180)
    assert before is not None
    assert sizes(before) == (10, 0)


def test_however_late_a_reading_is_no_click_counts_for_two_minutes(
    state: State, history: History, cohorts: Cohorts
) -> None:
    # The one for 120 waited 50 s for the state store.
    for tick, at, predictions in ((60, 60.02, 10), (120, 170.0, 30), (180, 180.02, 70)):
        history.append(tick, reading(at, predictions))
    click_at(state, 70, 130, 140, 150)

    assert [sizes(c) for c in cohorts.minutes(MODEL, 60, 180)] == [(20, 1), (40, 3)]
    for start, size in ((60, (20, 1)), (120, (40, 3))):
        cohort = cohorts.between(MODEL, start, start + 60)
        assert cohort is not None
        assert sizes(cohort) == size


def test_the_last_minute_of_a_life_is_whole(
    state: State, history: History, cohorts: Cohorts
) -> None:
    history.append(60, reading(60.02, 10))
    history.append(120, reading(120.02, 30))
    history.append_final(reading(160.0, 35))
    history.append(300.5, reading(300.5, 0, epoch=300.5))
    history.append(360, reading(360.02, 8, epoch=300.5))
    click_at(state, 130, 159, 310)

    before = cohorts.between(MODEL, 60, 240)
    after = cohorts.between(MODEL, 240, 360)
    assert before is not None
    assert after is not None
    assert sizes(before) == (25, 2)
    assert sizes(after) == (8, 1)
    whole = cohorts.between(MODEL, 60, 360)
    assert whole is not None
    assert sizes(whole) == (33, 3)


def test_there_is_no_cohort_where_there_is_no_history(history: History, cohorts: Cohorts) -> None:
    assert cohorts.between(MODEL, 0, 600) is None
    history.append(60, reading(60.02, 10))
    assert cohorts.between(MODEL, 60, 600) is None
    assert cohorts.between(ModelVersion("m", "2"), 0, 600) is None
    assert list(cohorts.minutes(MODEL, 0, 600)) == []


def test_clicks_on_the_predictions_of_other_instances_are_theirs(
    state: State, history: History, cohorts: Cohorts
) -> None:
    for minute, predictions in ((60, 10), (120, 30)):
        history.append(minute, reading(minute + 0.02, predictions))
    click_at(state, 70)
    elsewhere = Cohorts(
        source=HistorySource(lambda: reading(130, 30), history),
        clicks=state.clicks,
        origin=HERE + 1,
        attribution_seconds=100.0,
    )

    for source, clicks in ((cohorts, 1), (elsewhere, 0)):
        cohort = source.between(MODEL, 60, 120)
        assert cohort is not None
        assert cohort.clicks.count == clicks
        assert [sizes(minute) for minute in source.minutes(MODEL, 60, 120)] == [(20, clicks)]
