"""The outbox keeps its promises over SQLite and over PostgreSQL alike."""

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import text

from bridge.runs import RunNaming
from bridge.windows import Slot
from service.monitoring.tracking import Entry, EntryKind, Point, TrackedRun
from service.state.database import Database
from service.state.errors import StateError
from service.state.migrations import add_outbox
from service.state.outbox import Outbox
from service.state.store import State, open_state

NOON = Slot(number=6_000_048, seconds=300)
NAMING = RunNaming(
    source="instance:host1", window_seconds=300, experiment="none", service_version="1"
)
RUN = NAMING.of_day("xgboost", "1", NOON)
OTHER_RUN = NAMING.of_day("logistic_regression", "1", NOON)
STORE, OTHER_STORE = "sqlite:///mlflow.db#1", "http://mlflow:5000#7"
DAY = 86_400.0


@pytest.fixture
def outbox(state: State) -> Outbox:
    return state.outbox("instance:host1")


def entry(
    step: int, *, run: TrackedRun = RUN, kind: EntryKind = EntryKind.WINDOW, value: float = 0.1
) -> Entry:
    points = tuple(Point(name, value, step * 300_000, step) for name in ("a", "b"))
    return Entry(run_key=run.key, kind=kind, step=step, points=points)


def freeze(outbox: Outbox, *entries: Entry, at: float = 1000.0, until: float | None = None) -> None:
    outbox.freeze([RUN, OTHER_RUN], entries, at=at, until=until)


def waiting_steps(outbox: Outbox, run: TrackedRun = RUN, most_points: int = 1000) -> list[int]:
    return [item.entry.step for item in outbox.waiting(run.key, most_points=most_points)]


def acknowledge_all(outbox: Outbox, run: TrackedRun = RUN, at: float = 1001.0) -> None:
    outbox.acknowledge([item.id for item in outbox.waiting(run.key, most_points=1000)], at)


def test_an_entry_comes_back_bit_for_bit(outbox: Outbox) -> None:
    frozen = Entry(
        run_key=RUN.key,
        kind=EntryKind.CLOSE,
        step=2**40,
        points=tuple(
            Point("ä/b", value, 1_795_000_000_123, -3) for value in (0.1 + 0.2, 5e-324, -0.0)
        ),
        tags={"verdict": 'it\'s "fine"\n'},
        end_ms=1_795_000_000_999,
    )
    freeze(outbox, frozen)

    [item] = outbox.waiting(RUN.key, most_points=1)

    assert item.entry == frozen
    assert str(item.entry) == str(frozen)  # The sign of zero too.


def test_of_an_entry_the_first_word_stands(outbox: Outbox) -> None:
    freeze(outbox, entry(1, value=0.1))
    freeze(outbox, entry(1, value=0.2), entry(2, value=0.2))

    values = [item.points[0].value for item in outbox.entries(RUN.key, EntryKind.WINDOW)]
    assert values == [0.1, 0.2]


def test_the_first_word_stands_after_it_was_sent(outbox: Outbox) -> None:
    freeze(outbox, entry(1, value=0.1))
    acknowledge_all(outbox)
    freeze(outbox, entry(1, value=0.2))

    assert waiting_steps(outbox) == []


def test_a_damaged_entry_is_set_aside_and_the_others_wait_on(outbox: Outbox, url: str) -> None:
    report = Entry(run_key=RUN.key, kind=EntryKind.REPORT, step=3)
    freeze(outbox, entry(1), entry(2), report, replace(report, step=4))
    damage = text("UPDATE outbox SET content = :bytes WHERE step IN (1, 3)")
    with closing(Database.open(url, 5.0)) as database, database.writing() as connection:
        connection.execute(damage, {"bytes": b"of no entry"})

    assert waiting_steps(outbox) == [2]
    assert [item.entry.step for item in outbox.waiting_with_files()] == [4]
    assert outbox.backlog().refused == 2
    assert [problem.partition(":")[0] for problem in outbox.problems().values()] == [
        "the outbox cannot be read"
    ] * 2


def test_entries_are_frozen_all_or_none(outbox: Outbox) -> None:
    stranger = replace(entry(2), run_key="of no run")

    with pytest.raises(StateError):
        freeze(outbox, entry(1), stranger, until=600.0)

    assert outbox.backlog().entries == 0
    assert outbox.frozen_until() is None
    assert outbox.kept_runs() == []


def test_what_is_frozen_is_never_less_than_it_was(outbox: Outbox) -> None:
    freeze(outbox, until=900.0)
    freeze(outbox, until=600.0)  # By a bridge that was paused long ago and woke up.
    freeze(outbox)

    assert outbox.frozen_until() == 900.0


def test_scopes_do_not_see_each_other(state: State, outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(2, kind=EntryKind.SAMPLES), until=600.0)
    outbox.refuse(outbox.waiting(RUN.key, most_points=1)[0].id, "no")
    other = state.outbox("instance:host2")

    other.prune(10**9, kept_seconds=0, most_points=0)

    assert other.frozen_until() is None
    assert other.backlog() == (0, 0, None, 0)
    assert (other.runs_waiting(), other.unclosed(), other.kept_runs()) == ([], [], [])
    assert other.newest(EntryKind.WINDOW) == []
    assert other.problems() == {}
    assert waiting_steps(outbox) == [2]


def test_what_is_acknowledged_does_not_wait_any_more(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(2), at=1000.0)
    freeze(outbox, entry(3), at=1300.0)
    first, second, _ = outbox.waiting(RUN.key, most_points=1000)

    outbox.acknowledge([first.id, second.id], 1400.0)

    assert waiting_steps(outbox) == [3]
    assert outbox.backlog() == (1, 2, 1300.0, 0)


def test_acknowledging_nothing_changes_nothing(outbox: Outbox) -> None:
    freeze(outbox, entry(1))

    outbox.acknowledge([], 1400.0)

    assert waiting_steps(outbox) == [1]


def test_the_oldest_wait_first_up_to_a_number_of_points_and_at_least_one(outbox: Outbox) -> None:
    freeze(outbox, *(entry(step) for step in (5, 3, 4)))

    assert waiting_steps(outbox, most_points=1) == [5]
    assert waiting_steps(outbox, most_points=5) == [5, 3]
    assert waiting_steps(outbox, most_points=6) == [5, 3, 4]


def test_the_run_that_waits_longest_comes_first(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(1, run=OTHER_RUN), entry(2))
    assert outbox.runs_waiting() == [RUN.key, OTHER_RUN.key]

    outbox.acknowledge([outbox.waiting(RUN.key, most_points=1)[0].id], 1001.0)

    assert outbox.runs_waiting() == [OTHER_RUN.key, RUN.key]


def test_what_is_refused_blocks_nobody(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(2), entry(1, run=OTHER_RUN))
    outbox.refuse(outbox.waiting(RUN.key, most_points=1)[0].id, "a bad name")

    assert outbox.runs_waiting() == [RUN.key, OTHER_RUN.key]
    assert waiting_steps(outbox) == [2]
    assert outbox.backlog() == (2, 4, 1000.0, 1)
    assert outbox.problems() == {f"{RUN.key} window 1": "a bad name"}


# Runs


def test_a_run_is_known_in_the_store_that_it_was_made_in(outbox: Outbox) -> None:
    freeze(outbox, entry(1))
    assert outbox.run(RUN.key, STORE) == (RUN, None)

    outbox.remember_run(RUN.key, STORE, "r1")

    assert outbox.run(RUN.key, STORE) == (RUN, "r1")
    assert outbox.run(RUN.key, OTHER_STORE) == (RUN, None)
    assert outbox.kept_runs() == [OTHER_RUN, RUN]
    assert outbox.located_runs(STORE) == [(RUN, "r1")]
    with pytest.raises(KeyError):
        outbox.run("of no run", STORE)


def test_of_a_run_that_is_gone_everything_is_sent_again(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(2), entry(1, run=OTHER_RUN))
    outbox.remember_run(RUN.key, STORE, "r1")
    outbox.refuse(outbox.waiting(RUN.key, most_points=1)[0].id, "a bad name among good ones")
    acknowledge_all(outbox)
    acknowledge_all(outbox, OTHER_RUN)

    outbox.forget_run(RUN.key)

    assert outbox.run(RUN.key, STORE).run_id is None
    assert waiting_steps(outbox) == [1, 2]
    assert waiting_steps(outbox, OTHER_RUN) == []


def test_a_run_that_moves_to_another_store_is_told_there_from_its_beginning(
    outbox: Outbox,
) -> None:
    freeze(outbox, entry(1), entry(1, run=OTHER_RUN))
    for run in (RUN, OTHER_RUN):
        outbox.remember_run(run.key, STORE, "r1")
        acknowledge_all(outbox, run)
    freeze(outbox, entry(2))

    outbox.remember_run(RUN.key, OTHER_STORE, "r2")

    assert waiting_steps(outbox) == [1, 2]
    assert waiting_steps(outbox, OTHER_RUN) == []
    acknowledge_all(outbox)
    outbox.remember_run(RUN.key, OTHER_STORE, "r2")
    assert waiting_steps(outbox) == []


def test_a_run_is_unclosed_until_its_last_word_is_frozen(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(1, run=OTHER_RUN))
    assert outbox.unclosed() == [OTHER_RUN, RUN]

    freeze(outbox, entry(9, kind=EntryKind.CLOSE))

    assert outbox.unclosed() == [OTHER_RUN]
    assert outbox.newest(EntryKind.CLOSE) == [entry(9, kind=EntryKind.CLOSE)]


# Pruning


def test_what_was_sent_is_kept_for_a_while_and_then_dropped_with_its_run(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(9, kind=EntryKind.CLOSE), at=1000.0)
    acknowledge_all(outbox)
    freeze(outbox, entry(1, run=OTHER_RUN), at=1000.0 + DAY)

    outbox.prune(1000.0 + DAY, kept_seconds=DAY, most_points=100)
    assert len(outbox.entries(RUN.key, EntryKind.WINDOW)) == 1

    outbox.prune(1000.1 + DAY, kept_seconds=DAY, most_points=100)
    assert outbox.entries(RUN.key, EntryKind.WINDOW) == []
    assert outbox.kept_runs() == [OTHER_RUN]


def test_what_was_not_sent_is_never_too_old(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(1, kind=EntryKind.SAMPLES))

    assert outbox.prune(1000.0 + 400 * DAY, kept_seconds=DAY, most_points=4) == 0

    assert outbox.backlog().entries == 2


def test_a_run_without_its_last_word_keeps_what_that_will_be_made_of(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(2))
    acknowledge_all(outbox)

    outbox.prune(1000.0 + 30 * DAY, kept_seconds=DAY, most_points=100)

    assert outbox.unclosed() == [RUN]
    assert len(outbox.entries(RUN.key, EntryKind.WINDOW)) == 2


def test_where_too_much_waits_the_oldest_samples_go_and_aggregates_never(outbox: Outbox) -> None:
    freeze(outbox, *(entry(step, kind=EntryKind.SAMPLES) for step in (1, 2, 3)))
    freeze(outbox, *(entry(step) for step in (1, 2, 3)))

    # 12 points wait; one too many drops an entry of two.
    assert outbox.prune(1001.0, kept_seconds=DAY, most_points=11) == 2
    assert [e.step for e in outbox.entries(RUN.key, EntryKind.SAMPLES)] == [2, 3]

    assert outbox.prune(1001.0, kept_seconds=DAY, most_points=0) == 4
    assert outbox.entries(RUN.key, EntryKind.SAMPLES) == []
    assert outbox.backlog().points == 6


def test_samples_that_were_sent_are_not_dropped_for_want_of_room(outbox: Outbox) -> None:
    freeze(outbox, entry(1, kind=EntryKind.SAMPLES))
    acknowledge_all(outbox)
    freeze(outbox, entry(2, kind=EntryKind.SAMPLES))

    assert outbox.prune(1001.0, kept_seconds=DAY, most_points=0) == 2

    assert [e.step for e in outbox.entries(RUN.key, EntryKind.SAMPLES)] == [1]


def test_what_was_refused_is_forgotten_in_time(outbox: Outbox) -> None:
    freeze(outbox, entry(1), entry(9, kind=EntryKind.CLOSE))
    outbox.refuse(outbox.waiting(RUN.key, most_points=1)[0].id, "a bad name")
    acknowledge_all(outbox)

    outbox.prune(1000.0 + DAY, kept_seconds=DAY, most_points=100)
    assert outbox.backlog().refused == 1

    outbox.prune(1000.1 + DAY, kept_seconds=DAY, most_points=100)
    assert outbox.backlog().refused == 0


def test_what_an_earlier_release_froze_is_still_to_be_told(url: str) -> None:
    frozen = [replace(entry(step), tags={"said": "é" * step}) for step in range(1201)]
    with closing(Database.open(url, 5.0)) as database, database.writing() as connection:
        for table in ("outbox", "tracked_runs", "sampled_windows"):
            connection.execute(text(f"DROP TABLE {table}"))
        add_outbox(connection)
        connection.execute(text("UPDATE schema_version SET version = 4"))
        connection.execute(
            text("INSERT INTO tracked_runs (run_key, scope, content) VALUES (:key, 'a', :run)"),
            {"key": RUN.key, "run": RUN.to_json()},
        )
        connection.execute(
            text(
                "INSERT INTO outbox (run_key, kind, step, frozen_at, points, content)"
                " VALUES (:run, 'window', :step, 7, 2, :content)"
            ),
            [{"run": RUN.key, "step": one.step, "content": one.to_json()} for one in frozen],
        )

    with open_state(url) as state:
        assert state.outbox("a").entries(RUN.key, EntryKind.WINDOW) == frozen
        assert state.outbox("a").backlog().points == 2 * len(frozen)
