"""The state store keeps its promises over SQLite and over PostgreSQL alike."""

import itertools
import json
import math
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres import PASSWORD, PostgreSQL
from sqlalchemy import Connection, inspect, text

from service.monitoring.baseline import Baseline
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import Effects
from service.monitoring.drift.sample import DriftSample
from service.monitoring.history import History, Tick
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import window_over
from service.state.database import Database
from service.state.encoding import decode_counters, decode_series, encode_values, layout_of
from service.state.errors import StateError, StateUnavailableError
from service.state.leases import Leases
from service.state.schema import MIGRATIONS, migrate
from service.state.store import State, open_state

ROOT = Path(__file__).parents[2]
SCOPE = "instance:host1"
SERVED = Series("ctr_requests_total", (("model", "xgboost"), ("outcome", "success")))
ERRORS = Series("ctr_requests_total", (("model", "xgboost"), ("outcome", "error")))
EVER = (-math.inf, math.inf)


@pytest.fixture
def state(url: str) -> Iterator[State]:
    with open_state(url) as opened:
        yield opened


@pytest.fixture
def history(state: State) -> History:
    return state.history(SCOPE)


def reading(at: float, *, epoch: float, served: float) -> Snapshot:
    return Snapshot(at=at, epoch=epoch, counters={SERVED: served}, gauges={})


def served(snapshots: Sequence[Snapshot]) -> list[float]:
    return [snapshot.counters[SERVED] for snapshot in snapshots]


def ticks_of(history: History) -> list[float]:
    return [row.tick for row in history.ticks(*EVER)]


def bits(counters: dict[Series, float]) -> dict[Series, bytes]:
    return {series: struct.pack("<d", value) for series, value in counters.items()}


# What is stored of a snapshot


def test_counters_come_back_bit_for_bit_and_gauges_do_not(history: History, state: State) -> None:
    values = [0.1 + 0.2, -0.0, 5e-324, 2.0**53 + 2, math.inf, math.nan, 1e308]
    counters = {Series("ctr_ä_total", (("le", str(i)),)): v for i, v in enumerate(values)}
    snapshot = Snapshot(at=100.25, epoch=90.125, counters=counters, gauges={SERVED: 1.0})
    history.append(100.0, snapshot)
    empty = Snapshot(at=105.5, epoch=90.125, counters={}, gauges={})
    history.append(105.0, empty)

    first, second = state.history(SCOPE).ticks(*EVER)

    assert (first.tick, first.final) == (100.0, False)
    assert (first.snapshot.at, first.snapshot.epoch) == (100.25, 90.125)
    assert bits(dict(first.snapshot.counters)) == bits(counters)
    assert first.snapshot.gauges == {}
    assert second.snapshot.counters == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(width=64), max_size=30))
def test_encoding_loses_no_bit(values: dict[str, float]) -> None:
    counters = {Series("ctr_total", (("value", name),)): v for name, v in values.items()}
    layout = layout_of(counters)

    series = decode_series(layout.content)
    decoded = decode_counters(series, encode_values(counters, layout))

    assert bits(decoded) == bits(counters)
    assert layout_of(dict(reversed(counters.items()))).digest == layout.digest


def test_a_tick_is_stored_once_and_the_first_wins(history: History) -> None:
    history.append(100, reading(100.1, epoch=90, served=1))
    history.append(100, reading(100.2, epoch=90, served=2))

    assert served([row.snapshot for row in history.ticks(*EVER)]) == [1]


def test_the_end_of_an_epoch_is_stored_once_and_nothing_follows_it(history: History) -> None:
    history.append(100, reading(100.1, epoch=90, served=1))
    history.append_final(reading(103.0, epoch=90, served=2))
    history.append_final(reading(109.0, epoch=90, served=0))
    history.append(110, reading(110.1, epoch=90, served=3))

    rows = list(history.ticks(*EVER))

    assert served([row.snapshot for row in rows]) == [1, 2]
    assert [row.final for row in rows] == [False, True]


def test_ticks_that_repeat_after_the_clock_was_set_back_are_ignored(history: History) -> None:
    for tick, count in [(100, 1), (105, 2), (95, 3), (100, 4), (110, 5)]:
        history.append(tick, reading(tick + 0.1, epoch=90, served=count))

    assert served([row.snapshot for row in history.ticks(*EVER)]) == [1, 2, 5]


def test_an_end_read_after_the_clock_was_set_back_is_last_all_the_same(history: History) -> None:
    history.append(100, reading(100.1, epoch=50, served=1))
    history.append_final(reading(60.0, epoch=50, served=2))

    rows = history.window_rows(100.5, reading(70.0, epoch=65, served=1))

    assert served(rows)[-1] == 2


@pytest.mark.parametrize(
    ("tick", "at", "epoch"), [(101, 100, 90), (math.nan, 100, 90), (100, 100, math.inf)]
)
def test_impossible_times_are_refused(
    history: History, tick: float, at: float, epoch: float
) -> None:
    with pytest.raises(ValueError, match=r"tick|finite"):
        history.append(tick, reading(at, epoch=epoch, served=1))

    assert ticks_of(history) == []


def test_scopes_do_not_see_each_other(state: State) -> None:
    state.history("a").append(100, reading(100, epoch=90, served=1))
    state.history("b").append(100, reading(100, epoch=90, served=2))
    state.history("b").thin(now=10**9)

    assert served([row.snapshot for row in state.history("a").ticks(*EVER)]) == [1]
    assert state.history("a").last_epoch() == 90
    assert state.history("c").last_epoch() is None
    assert state.history("c").at_or_before(200) is None


def test_ticks_come_in_order_over_many_pages(history: History) -> None:
    for life, epoch in enumerate([100, 2500]):
        for i in range(300):
            tick = epoch + 5 * (i + 1)
            history.append(tick, reading(tick, epoch=epoch, served=1000 * life + i))

    counts = served([row.snapshot for row in history.ticks(110, 3990)])

    assert counts == [*range(1, 300), *range(1000, 1298)]


# What a window needs


def three_lives(history: History) -> None:
    """Two requests every 5 s; the first two lives end with one more, the second without a trace."""
    for epoch, ticks in [(100, [105, 110, 115]), (200, [205, 210]), (300, [305, 310])]:
        for count, tick in enumerate(ticks, start=1):
            history.append(tick, reading(tick + 0.5, epoch=epoch, served=2 * count))
        if epoch == 100:
            history.append_final(reading(150.0, epoch=100, served=7))


def test_a_window_over_three_epochs_is_the_sum_of_their_growth(history: History) -> None:
    three_lives(history)
    live = reading(313.0, epoch=300, served=5)

    rows = history.window_rows(112.0, live)

    assert [row.at for row in rows] == [110.5, 150.0, 210.5]
    # (7 - 4) to the end of the first life, 4 in the second, 5 in the third.
    assert requests_in([*rows, live]) == 12


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0.0, [105.5, 150.0, 210.5]),  # history begins later: its true start
        (105.5, [105.5, 150.0, 210.5]),
        (149.0, [115.5, 150.0, 210.5]),
        (150.0, [150.0, 210.5]),
        (250.0, [210.5]),
        (304.0, [210.5]),
        (305.5, [305.5]),
        (999.0, [310.5]),
    ],
)
def test_a_window_starts_with_the_nearest_earlier_row(
    history: History, start: float, expected: list[float]
) -> None:
    three_lives(history)

    rows = history.window_rows(start, reading(313.0, epoch=300, served=5))

    assert [row.at for row in rows] == expected


def test_a_window_may_end_in_the_past(history: History) -> None:
    three_lives(history)
    end = history.at_boundary(210)
    assert end is not None
    assert end.at == 210.5

    rows = history.window_rows(106.0, end)

    assert [row.at for row in rows] == [105.5, 150.0]
    assert history.window_rows(0, reading(101, epoch=100, served=0)) == ()


def test_the_first_rows_of_a_new_life_are_not_needed_to_see_what_came_before(
    history: History,
) -> None:
    three_lives(history)
    live = reading(402.0, epoch=400, served=1)

    assert [row.at for row in history.window_rows(306.0, live)] == [305.5, 310.5]


def test_where_lives_overlap_on_the_clock_a_time_means_the_newest(history: History) -> None:
    for tick in (100, 105, 110, 115, 120):
        history.append(tick, reading(tick, epoch=90, served=tick))
    for tick in (105, 110):  # The clock was set back; the launcher chose a later epoch.
        history.append(tick, reading(tick, epoch=90.001, served=tick - 100))

    found = history.at_or_before(112)

    assert found is not None
    assert (found.at, found.epoch) == (110, 90.001)


def test_a_boundary_belongs_to_the_reading_that_was_taken_for_it(history: History) -> None:
    three_lives(history)

    by_tick, by_time = history.at_boundary(110.0), history.at_or_before(110.0)

    assert by_tick is not None
    assert by_time is not None
    assert (by_tick.at, by_time.at) == (110.5, 105.5)


# Thinning


def test_thinning_keeps_ticks_then_minutes_then_nothing(history: History) -> None:
    now = 100_000.0
    for tick in range(98_000, 100_001, 5):
        history.append(tick, reading(tick, epoch=90_000, served=tick))

    history.thin(now, ticks_kept_seconds=300, history_seconds=1000)

    kept = ticks_of(history)
    minutes = [tick for tick in range(99_000, 99_700) if tick % 60 == 0]
    # 99,000 is the newest at the edge of retention and a whole minute.
    assert kept == [*minutes, *range(99_705, 100_001, 5)]


def test_thinning_keeps_the_last_row_before_a_missing_boundary(history: History) -> None:
    for tick in (30, 45, 55, 65, 110, 115, 180):
        history.append(tick, reading(tick, epoch=1, served=tick))

    history.thin(now=10_000, ticks_kept_seconds=0, history_seconds=9_980)

    assert ticks_of(history) == [55, 115, 180]


def test_thinning_leaves_one_row_of_what_is_older_than_the_history(history: History) -> None:
    three_lives(history)

    history.thin(now=10**6)

    assert [row.at for row in (r.snapshot for r in history.ticks(*EVER))] == [310.5]


def test_thinning_removes_the_layouts_that_nothing_uses(url: str, history: History) -> None:
    for i in range(5):
        old = Snapshot(at=5 + i, epoch=1, counters={Series(f"c{i}", ()): 1.0}, gauges={})
        history.append(5 + i, old)
    assert query(url, "SELECT count(*) FROM layouts") == 5

    history.thin(now=10**6)

    assert query(url, "SELECT count(*) FROM layouts") == 1
    assert len(list(history.ticks(*EVER))) == 1


@dataclass(frozen=True)
class Life:
    """One life of the service, in steps of 5 s."""

    pause: int
    """Steps since the last life; negative where the clock was set back."""
    steps: list[tuple[int, int]]
    """For each tick how many steps after the one before, and requests served between them."""
    final: int | None
    """Requests served after the last tick, where the launcher found the totals."""


LIVES = st.lists(
    st.builds(
        Life,
        pause=st.integers(-20, 40),
        steps=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), max_size=12),
        final=st.none() | st.integers(0, 5),
    ),
    min_size=1,
    max_size=6,
)


def live_through(history: History, lives: list[Life]) -> float:
    """Store the lives as the launcher and the ticker do; returns the time on the clock."""
    step, epoch = 1000, 0.0
    for life in lives:
        step += life.pause
        epoch = max(5.0 * step, epoch + 0.001)
        count = 0.0
        for steps, requests in life.steps:
            step += steps
            count += requests
            history.append(5.0 * step, reading(5.0 * step + 0.3, epoch=epoch, served=count))
        if life.final is not None:
            count += life.final
            history.append_final(reading(5.0 * step + 2.2, epoch=epoch, served=count))
    return 5.0 * step + 3


Place = tuple[float, float]


def place(row: Tick) -> Place:
    return row.snapshot.epoch, row.tick


def growth(rows: Sequence[Tick], first: Place, last: Place) -> float:
    """Requests between two of the rows."""
    places = [place(row) for row in rows]
    span = rows[places.index(first) : places.index(last) + 1]
    return requests_in([row.snapshot for row in span])


def requests_in(rows: Sequence[Snapshot]) -> float:
    return window_over(rows).increases.get(SERVED, 0.0)


scopes = itertools.count()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LIVES, st.integers(0, 60), st.integers(0, 300))
def test_thinning_changes_no_window_between_the_rows_that_stay(
    state: State, lives: list[Life], kept_steps: int, history_steps: int
) -> None:
    history = state.history(f"instance:{next(scopes)}")
    now = live_through(history, lives)
    before = list(history.ticks(*EVER))

    history.thin(now, ticks_kept_seconds=5.0 * kept_steps, history_seconds=5.0 * history_steps)
    after = list(history.ticks(*EVER))
    history.thin(now, ticks_kept_seconds=5.0 * kept_steps, history_seconds=5.0 * history_steps)

    assert ticks_of(history) == [row.tick for row in after]
    for first, last in itertools.combinations(map(place, after), 2):
        assert growth(after, first, last) == growth(before, first, last)
    read = {(row.snapshot.epoch, row.snapshot.at): place(row) for row in before}
    for end in after:
        for start in (end.snapshot.at - 400, end.snapshot.at - 70):
            rows = history.window_rows(start, end.snapshot)
            expected = growth(before, read[rows[0].epoch, rows[0].at], place(end))
            assert requests_in([*rows, end.snapshot]) == expected


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LIVES, st.integers(0, 60), st.integers(0, 300))
def test_thinning_changes_no_answer_about_a_whole_minute_of_the_history(
    state: State, lives: list[Life], kept_steps: int, history_steps: int
) -> None:
    history = state.history(f"instance:{next(scopes)}")
    now = live_through(history, lives)
    edge = now - 5.0 * history_steps
    ends = {60.0 * math.ceil(tick / 60) for tick in ticks_of(history)}
    minutes = sorted(minute for minute in ends if minute > edge)

    def answers() -> list[tuple[float, float] | None]:
        found = [history.at_boundary(minute) for minute in minutes]
        return [None if row is None else (row.epoch, row.at) for row in found]

    before = answers()
    reached_back_to = history.at_boundary(60.0 * math.floor(edge / 60))
    history.thin(now, ticks_kept_seconds=5.0 * kept_steps, history_seconds=5.0 * history_steps)

    assert answers() == before
    # Once the history is longer than is kept, the longest window is a whole one.
    assert reached_back_to is None or history.at_or_before(edge) is not None


def test_a_scope_that_nobody_writes_any_more_can_be_forgotten(state: State) -> None:
    for scope, tick in [("gone", 100), ("here", 100), ("here", 900)]:
        state.history(scope).append(tick, reading(tick, epoch=tick - 1, served=1))

        state.drift_samples(scope).append(tick, "xgboost", said(tick))

    state.forget_silent_scopes(since=500)

    assert ticks_of(state.history("gone")) == []
    assert ticks_of(state.history("here")) == [100, 900]
    assert state.drift_samples("gone").between("xgboost", 0, 1000) == []
    assert len(state.drift_samples("here").between("xgboost", 0, 1000)) == 2


# What drift detection said


def said(at: float, log_evidence: float = 1.5) -> DriftSample:
    return DriftSample(
        at=at,
        model_version="1",
        log_evidence=log_evidence,
        effects=Effects(mean_shift=0.1 + 0.2, shape_distance=None),
        standing=(DriftKind.SHAPE_CHANGE,),
    )


def test_samples_of_drift_come_back_as_they_were_by_model_and_span(state: State) -> None:
    samples = state.drift_samples(SCOPE)
    for tick in (30, 15, 45):
        samples.append(tick, "xgboost", said(tick + 0.25))
    samples.append(30, "logistic", said(30))
    state.drift_samples("instance:host2").append(30, "xgboost", said(30))

    assert samples.between("xgboost", 15, 30) == [said(15.25), said(30.25)]


def test_the_first_sample_of_a_tick_stands(state: State) -> None:
    samples = state.drift_samples(SCOPE)
    samples.append(15, "xgboost", said(15.1))
    samples.append(15, "xgboost", said(15.9))

    assert samples.between("xgboost", 0, 100) == [said(15.1)]


def test_samples_are_thinned_to_minutes_then_to_nothing(state: State) -> None:
    samples = state.drift_samples(SCOPE)
    for tick in range(0, 300, 15):
        samples.append(tick, "xgboost", said(tick))
    samples.thin(300, ticks_kept_seconds=60, history_seconds=180)

    kept = [sample.at for sample in samples.between("xgboost", 0, 300)]
    assert kept == [120, 180, 240, 255, 270, 285]


# Baselines


def baseline(**changes: object) -> Baseline:
    typed = Baseline(
        model_name="xgboost",
        model_version="1",
        mean_prediction=0.1 + 0.2,
        std_prediction=0.05,
        source="request",
        created_at=datetime(2026, 11, 23, 2, 30, 0, 123, tzinfo=UTC),
        created_by="müller",
    )
    return replace(typed, **changes)  # type: ignore[arg-type]


def test_the_newest_baseline_of_a_model_version_is_in_force(state: State) -> None:
    first = state.baselines.save(baseline())
    second = state.baselines.save(baseline(mean_prediction=0.25))
    state.baselines.save(baseline(model_version="2"))
    state.baselines.save(baseline(model_name="logistic_regression"))

    active = state.baselines.active("xgboost", "1")

    assert active is not None
    assert active.revision == second > first
    assert active.baseline.to_json() == baseline(mean_prediction=0.25).to_json()
    assert state.baselines.active("xgboost", "3") is None
    listed = state.baselines.revisions("xgboost")
    assert [row.baseline.model_version for row in listed] == ["1", "1", "2"]
    assert [row.revision for row in listed][:2] == [first, second]


def test_a_baseline_is_seen_by_another_process_at_once(url: str, state: State) -> None:
    with open_state(url) as other:
        revision = state.baselines.save(baseline())
        seen = other.baselines.active("xgboost", "1")

    assert seen is not None
    assert seen.revision == revision


# Leases


def test_a_lease_has_one_holder_until_it_expires(state: State) -> None:
    leases = state.leases

    assert leases.acquire_or_renew("ticker", "a", now=100, ttl=10)
    assert not leases.acquire_or_renew("ticker", "b", now=109, ttl=10)
    assert leases.acquire_or_renew("ticker", "a", now=109, ttl=10)
    assert not leases.acquire_or_renew("ticker", "b", now=118.9, ttl=10)
    assert leases.holder_of("ticker", now=118.9) == "a"
    assert leases.holder_of("ticker", now=119) is None
    assert leases.acquire_or_renew("ticker", "b", now=119, ttl=10)
    assert not leases.acquire_or_renew("ticker", "a", now=120, ttl=10)
    assert leases.acquire_or_renew("bridge", "a", now=120, ttl=10)


def test_only_the_holder_releases_a_lease(state: State) -> None:
    state.leases.acquire_or_renew("ticker", "a", now=100, ttl=10)

    state.leases.release("ticker", "b")
    assert state.leases.holder_of("ticker", now=101) == "a"
    state.leases.release("ticker", "a")

    assert state.leases.acquire_or_renew("ticker", "b", now=101, ttl=10)


def test_a_lease_from_before_the_clock_was_set_back_does_not_block_for_ever(url: str) -> None:
    elapsed = 0.0
    with closing(Database.open(url, 5.0)) as database:
        leases = Leases(database, monotonic=lambda: elapsed)
        leases.acquire_or_renew("ticker", "dead", now=10_000, ttl=10)

        assert not leases.acquire_or_renew("ticker", "b", now=5_000, ttl=10)
        elapsed = 9.9
        assert not leases.acquire_or_renew("ticker", "b", now=5_010, ttl=10)
        elapsed = 10.0
        assert leases.acquire_or_renew("ticker", "b", now=5_010, ttl=10)


def test_a_process_that_was_paused_with_an_old_time_takes_no_lease(url: str) -> None:
    elapsed = 0.0
    with closing(Database.open(url, 5.0)) as database:
        leases = Leases(database, monotonic=lambda: elapsed)
        leases.acquire_or_renew("ticker", "a", now=100, ttl=10)
        assert not leases.acquire_or_renew("ticker", "paused", now=105, ttl=10)
        Leases(database).acquire_or_renew("ticker", "a", now=205, ttl=10)
        elapsed = 100.0

        assert not leases.acquire_or_renew("ticker", "paused", now=106, ttl=10)


COMPETE = """
import json, random, sys, time
from service.state.store import open_state

url, holder = sys.argv[1:]
held = []
with open_state(url) as state:
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.time() + 2.0
    while (now := time.time()) < end:
        if state.leases.acquire_or_renew("ticker", holder, now, 0.03):
            began = time.time()
            if random.random() < 0.5:
                released = time.time()
                # What is given up includes the rest of an earlier grant.
                held = [[b, min(e, released), holder] for b, e, _ in held]
                held.append([began, released, holder])
                state.leases.release("ticker", holder)
            else:
                held.append([began, now + 0.03, holder])
                time.sleep(0.06 * random.random())
print(json.dumps(held))
"""


def test_two_processes_never_hold_a_lease_at_the_same_time(url: str) -> None:
    open_state(url).close()
    processes = [start(COMPETE, url, name) for name in "ab"]
    outputs = release_together(processes)

    held = sorted(interval for output in outputs for interval in json.loads(output))

    assert {holder for *_, holder in held} == {"a", "b"}
    last_end = {"a": -math.inf, "b": -math.inf}
    for began, ended, holder in held:
        other = "b" if holder == "a" else "a"
        assert began >= last_end[other]
        last_end[holder] = max(last_end[holder], ended)


# Values


def test_a_value_is_replaced_as_a_whole(state: State) -> None:
    assert state.values.load("a", "verdicts") is None

    state.values.save("a", "verdicts", b"\x00long")
    state.values.save("a", "verdicts", b"\xff")
    state.values.save("b", "verdicts", b"other")

    assert state.values.load("a", "verdicts") == b"\xff"


# Processes, threads, crashes


WRITE = """
import sys
from service.monitoring.snapshot import Series, Snapshot
from service.state.store import open_state

with open_state(sys.argv[1]) as state:
    history = state.history("instance:host1")
    for tick in range(100, 10**6):
        counters = {Series("c_total", (("le", str(i)),)): float(tick + i) for i in range(200)}
        history.append(tick, Snapshot(at=tick, epoch=90, counters=counters, gauges={}))
        print(tick, flush=True)
"""


def test_what_was_stored_is_there_after_the_writer_was_killed(url: str) -> None:
    with start(WRITE, url) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        last = int([*said, *writer.stdout][-1])

    with open_state(url) as state:
        rows = list(state.history(SCOPE).ticks(*EVER))
        state.history(SCOPE).append(10**6, reading(10**6, epoch=90, served=1))

    # One more may be there: stored, but killed before it could say so.
    assert [row.tick for row in rows] in (
        list(range(100, last + 1)),
        list(range(100, last + 2)),
    )
    assert all(min(row.snapshot.counters.values()) == row.tick for row in rows)
    assert all(len(row.snapshot.counters) == 200 for row in rows)


OPEN = """
import sys
from service.state.store import open_state

print("ready", flush=True)
sys.stdin.readline()
with open_state(sys.argv[1]) as state:
    state.values.save("scope", sys.argv[2], b"here")
print("opened")
"""


def test_eight_processes_can_open_a_new_database_at_once(url: str) -> None:
    processes = [start(OPEN, url, str(i)) for i in range(8)]

    assert release_together(processes) == ["opened\n"] * 8
    assert query(url, "SELECT count(*) FROM schema_version") == 1
    assert query(url, "SELECT count(*) FROM keyed_values") == 8


def test_threads_share_one_state(state: State) -> None:
    def work(thread: int) -> None:
        history = state.history(f"thread:{thread}")
        for tick in range(1, 31):
            history.append(tick, reading(tick, epoch=0.5, served=tick))
            state.values.save("threads", str(thread), bytes([tick]))
            assert served(history.window_rows(tick, reading(tick, epoch=0.5, served=0))) == [tick]
        history.thin(10**6)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert [state.values.load("threads", str(i)) for i in range(8)] == [bytes([30])] * 8


def test_a_locked_database_is_an_error_in_time_and_works_afterwards(url: str) -> None:
    with open_state(url, timeout_seconds=0.5) as state:
        history = state.history(SCOPE)
        history.append(100, reading(100, epoch=90, served=1))
        with locked(url):
            began = time.monotonic()
            with pytest.raises(StateUnavailableError, match=r"lock"):
                history.append(105, reading(105, epoch=95, served=2))
            assert time.monotonic() - began < 5
            assert served(history.window_rows(100, reading(105, epoch=90, served=2))) == [1]
        assert history.last_epoch() == 90  # Nothing was half-written.
        history.append(110, reading(110, epoch=90, served=3))

        assert ticks_of(history) == [100, 110]


def test_the_state_can_be_opened_while_another_process_writes(url: str) -> None:
    open_state(url).close()

    with locked(url), open_state(url, timeout_seconds=0.5) as state:
        assert state.values.load("a", "b") is None


# Versions and refusals


def test_the_state_of_a_newer_release_is_refused(url: str) -> None:
    open_state(url).close()
    query(url, "UPDATE schema_version SET version = 99 RETURNING 1")

    with pytest.raises(StateError, match=r"newer release .*99"):
        open_state(url)


def test_migrations_run_in_order_once_and_all_or_nothing(url: str) -> None:
    def add(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE leases ADD COLUMN note TEXT"))

    def fill(connection: Connection) -> None:
        connection.execute(text("INSERT INTO leases VALUES ('a', 'b', 1.0, 'migrated')"))

    def fail(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        raise RuntimeError("the third step fails")

    with closing(Database.open(url, 5.0)) as database:
        with database.writing() as connection:
            migrate(connection, [*MIGRATIONS, add, fill])
        with database.writing() as connection:
            migrate(connection, [*MIGRATIONS, add, fill])
        with pytest.raises(RuntimeError), database.writing() as connection:
            migrate(connection, [*MIGRATIONS, add, fill, fail])
        with database.reading() as connection:
            assert connection.scalar(text("SELECT note FROM leases")) == "migrated"
            assert (
                connection.scalar(text("SELECT version FROM schema_version")) == len(MIGRATIONS) + 3
            )
            assert not connection.dialect.has_table(connection, "half")


def test_the_first_releases_tables_become_those_of_this_one(url: str) -> None:
    def tables(connection: Connection) -> dict[str, list[tuple[str, str, bool]]]:
        found = inspect(connection)
        return {
            table: [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)]
            for table in found.get_table_names()
        }

    with closing(Database.open(url, 5.0)) as database:
        with database.writing() as connection:
            new = tables(connection)
            first = {
                *("schema_version", "layouts", "epochs", "snapshots", "baselines", "leases"),
                "keyed_values",
            }
            for table in sorted(new.keys() - first):
                connection.execute(text(f"DROP TABLE {table}"))
            connection.execute(text("UPDATE schema_version SET version = 1"))
        with database.writing() as connection:
            migrate(connection)
        with database.reading() as connection:
            assert tables(connection) == new


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    file.write_text("these are my notes, not a database\n" * 100)
    content = file.read_bytes()

    with pytest.raises(StateError, match=r"state\.db is damaged or not a database"):
        open_state(f"sqlite:///{file}")

    assert file.read_bytes() == content


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailableError, match=r"nowhere/state\.db .*unable to open"):
        open_state(f"sqlite:///{tmp_path}/nowhere/state.db")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://me:hush@host/db",
        "nonsense hush",
        "postgresql://me:hu/sh@host:hush/db",
        "oracle7://me:hush@host/db",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(StateError) as refused:
        open_state(url)

    assert "hush" not in "".join(traceback.format_exception(refused.value))
    assert "state" in str(refused.value)


def test_a_refused_password_is_not_in_the_message(postgres: PostgreSQL) -> None:
    url = postgres.url("postgres").replace("s3cret", "wr0ng")

    with pytest.raises(StateUnavailableError, match="authentication failed") as refused:
        open_state(url)

    told = "".join(traceback.format_exception(refused.value))
    assert "wr0ng" not in told
    assert PASSWORD not in told


def test_a_server_that_was_down_is_used_again_when_it_is_back(postgres: PostgreSQL) -> None:
    with open_state(postgres.create_database("restarts"), timeout_seconds=1) as state:
        state.values.save("a", "b", b"before")
        postgres.stop()
        try:
            with pytest.raises(StateUnavailableError, match=r"127\.0\.0\.1") as down:
                state.values.load("a", "b")
        finally:
            postgres.start()

        assert PASSWORD not in "".join(traceback.format_exception(down.value))
        assert state.values.load("a", "b") == b"before"
        # Connections that broke while nobody used them are not handed out.
        postgres.stop()
        postgres.start()
        assert state.values.load("a", "b") == b"before"


# What the tests above need


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def release_together(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let processes that are ready go on together, and return what each wrote then."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


def query(url: str, statement: str) -> object:
    """Run a statement that gives one value, past the code under test."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            return file.execute(statement).fetchone()[0]
    with psycopg.connect(url) as server:
        row = server.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold what another writer would hold, until the block is left."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
            file.rollback()
    else:
        with psycopg.connect(url) as server:
            server.execute("LOCK TABLE snapshots, epochs, keyed_values IN EXCLUSIVE MODE")
            yield
            server.rollback()
