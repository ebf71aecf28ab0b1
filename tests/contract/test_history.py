"""The history keeps its promises over SQLite and over PostgreSQL alike."""

import itertools
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_processes import query
from stored_readings import EVER, SCOPE, SERVED, reading, served, ticks_of

from service.monitoring.counters import Counters, Layout
from service.monitoring.history import History, Tick
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import window_over
from service.state.encoding import decode_counters, decode_series, encode_values, stored_layout
from service.state.errors import StateError
from service.state.store import State


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
    layout = stored_layout(tuple(counters))

    series = decode_series(layout.content)
    decoded = decode_counters(Layout(series), encode_values(Counters.of(counters), layout))

    assert bits(dict(decoded)) == bits(counters)
    assert stored_layout(tuple(reversed(counters))).digest == layout.digest


@pytest.mark.parametrize("damage", [b"", b"\xff" * 20, zlib.compress(b"[" * 20_000)])
def test_a_snapshot_that_is_damaged_is_told_as_such(damage: bytes) -> None:
    series = (Series("ctr_total", ()),)

    with pytest.raises(ValueError, match="damaged"):
        decode_series(damage)
    with pytest.raises(ValueError, match=r"damaged|values are stored"):
        decode_counters(Layout(series), damage)


def test_a_history_with_a_damaged_snapshot_says_which_instead_of_inventing_counts(
    url: str, history: History
) -> None:
    history.append(100, reading(100.1, epoch=90, served=1))
    other = "UPDATE snapshots SET counters = (SELECT content FROM layouts LIMIT 1) RETURNING 1"
    assert query(url, other) == 1

    with pytest.raises(StateError, match="snapshot stored for 100 is damaged"):
        list(history.ticks(*EVER))


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
        (305.2, [210.5]),  # the row of 305 was read later
        (305.5, [305.5]),
        (310.2, [305.5]),
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
