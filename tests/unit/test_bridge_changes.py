"""A change of the served version: compared once, with what came before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.changes import COMPARED_WINDOWS, change_of_version
from bridge.points import points_of
from bridge.runs import RunNaming
from bridge.windows import SECONDS_PER_DAY, Slot
from service.monitoring.tracking import Entry, EntryKind, TrackedRun
from service.state.outbox import Outbox
from service.state.store import open_state

NAMING = RunNaming(
    source="instance:test", window_seconds=300, experiment="none", service_version="1"
)
OLD, NEW = "20261101T000000Z-aaaaaa", "20261122T000000Z-bbbbbb"
NOON = Slot(number=(20_000 * SECONDS_PER_DAY + 43_200) // 300, seconds=300)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with open_state(tmp_path / "state.db") as state:
        yield state.outbox("instance:test")


def later(windows: int) -> Slot:
    return Slot(number=NOON.number + windows, seconds=300)


def freeze(outbox: Outbox, version: str, slots: range, latency_ms: float) -> TrackedRun:
    for i in slots:
        run = NAMING.of_day("xgboost", version, later(i))
        numbers = {"avg_latency_ms": latency_ms + i, "mean_prediction": 0.02}
        entry = Entry(
            run_key=run.key,
            kind=EntryKind.WINDOW,
            step=later(i).number,
            points=points_of(numbers, model_name="xgboost", slot=later(i)),
        )
        outbox.freeze([run], [entry], at=0.0)
    return run


def test_the_last_windows_of_the_old_version_stand_beside_the_first_of_the_new(
    outbox: Outbox,
) -> None:
    freeze(outbox, OLD, range(30), latency_ms=10)
    run = freeze(outbox, NEW, range(30, 42), latency_ms=100)

    found = change_of_version(outbox, NAMING, run, later(41))

    assert found is not None
    event, entry = found
    assert (event.tags["from_version"], event.tags["to_version"]) == (OLD, NEW)
    values = {point.name: point.value for point in entry.points}
    # Windows 18 to 29 of the old version, 30 to 41 of the new.
    assert values["before/avg_latency_ms"] == pytest.approx(10 + (18 + 29) / 2)
    assert values["after/avg_latency_ms"] == pytest.approx(100 + (30 + 41) / 2)
    table = entry.tags["mlflow.note.content"]
    assert f"| | {OLD} | {NEW} |" in table
    assert "| avg_latency_ms | 33.5 | 135.5 |" in table
    assert "| error_rate |  |  |" in table


@pytest.mark.parametrize("windows", [1, COMPARED_WINDOWS - 1])
def test_a_change_waits_until_there_is_enough(outbox: Outbox, windows: int) -> None:
    freeze(outbox, OLD, range(10), latency_ms=10)
    run = freeze(outbox, NEW, range(10, 10 + windows), latency_ms=100)

    assert change_of_version(outbox, NAMING, run, later(9 + windows)) is None


def test_a_change_is_told_of_once_though_a_crash_delayed_it(outbox: Outbox) -> None:
    freeze(outbox, OLD, range(10), latency_ms=10)
    run = freeze(outbox, NEW, range(10, 10 + COMPARED_WINDOWS + 1), latency_ms=100)

    found = change_of_version(outbox, NAMING, run, later(22))
    assert found is not None
    event, entry = found
    # Windows 10 to 21, not the one that came after.
    values = {point.name: point.value for point in entry.points}
    assert values["after/avg_latency_ms"] == pytest.approx(100 + (10 + 21) / 2)

    outbox.freeze([event], [entry], at=0.0)
    assert change_of_version(outbox, NAMING, run, later(23)) is None


def test_the_first_version_replaces_nothing(outbox: Outbox) -> None:
    run = freeze(outbox, NEW, range(COMPARED_WINDOWS), latency_ms=10)

    assert change_of_version(outbox, NAMING, run, later(11)) is None


def test_a_version_that_is_served_for_another_day_is_no_change(outbox: Outbox) -> None:
    freeze(outbox, OLD, range(10), latency_ms=10)
    freeze(outbox, NEW, range(20, 30), latency_ms=10)
    day = SECONDS_PER_DAY // 300
    run = freeze(outbox, NEW, range(day, day + COMPARED_WINDOWS), latency_ms=10)

    assert change_of_version(outbox, NAMING, run, later(day + 11)) is None


def test_going_back_on_the_same_day_is_not_told_as_a_change_to_the_version_of_the_morning(
    outbox: Outbox,
) -> None:
    freeze(outbox, OLD, range(30), latency_ms=10)
    new = freeze(outbox, NEW, range(30, 42), latency_ms=100)
    assert change_of_version(outbox, NAMING, new, later(41)) is not None
    # In the window of the rollback both have answered.
    old = freeze(outbox, OLD, range(41, 55), latency_ms=10)

    assert change_of_version(outbox, NAMING, old, later(54)) is None
