"""Windows: exact differences, whatever restarts lie between."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import since_counters_began, window_over

N = Series("n_total", (("model", "m"),))
LATER_BORN = Series("n_total", (("model", "new"),))


def at(seconds: float, count: float, *, epoch: float = 0.0, **more: float) -> Snapshot:
    counters = {N: count} | ({LATER_BORN: more["born"]} if "born" in more else {})
    return Snapshot(at=seconds, epoch=epoch, counters=counters, gauges={})


def test_within_an_epoch_growth_is_the_difference() -> None:
    window = window_over([at(10, 5), at(25, 12)])

    assert (window.start, window.end, window.seconds) == (10, 25, 15)
    assert window.increases == {N: 7}


def test_a_restart_that_has_outgrown_the_old_value_is_still_seen() -> None:
    # 5 -> 8, killed; the next life counts 20 from zero before anybody looks.
    window = window_over([at(10, 5), at(14, 8), at(25, 20, epoch=15)])

    assert window.increases == {N: 3 + 20}


def test_two_restarts_between_two_looks_add_up() -> None:
    window = window_over([at(1, 4), at(2, 9), at(5, 7, epoch=3), at(9, 2, epoch=6)])

    assert window.increases == {N: 5 + 7 + 2}


def test_a_series_born_within_the_window_counts_whole() -> None:
    assert window_over([at(0, 1), at(5, 1, born=3)]).increases == {N: 0, LATER_BORN: 3}


def test_a_file_that_was_unreadable_for_a_moment_counts_nothing_twice() -> None:
    assert window_over([at(0, 9), at(5, 2)]).increases == {N: 0}


def test_since_the_counters_began_is_everything_they_hold() -> None:
    window = since_counters_began(at(25, 12, epoch=3))

    assert (window.start, window.end) == (3, 25)
    assert window.increases == {N: 12}


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one snapshot"):
        window_over([])


@dataclass(frozen=True)
class Life:
    """The counts that one life of the service was seen with."""

    counts: list[int]


LIVES = st.lists(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=5).map(lambda c: Life(sorted(c))),
    min_size=1,
    max_size=4,
)


def history(lives: list[Life]) -> list[Snapshot]:
    rows: list[Snapshot] = []
    for number, life in enumerate(lives):
        rows += [at(100 * number + i + 1, c, epoch=100 * number) for i, c in enumerate(life.counts)]
    return rows


@given(LIVES)
def test_adjacent_windows_add_up(lives: list[Life]) -> None:
    rows = history(lives)

    parts = sum(window_over(pair).increases[N] for pair in pairwise(rows))

    assert parts == (window_over(rows).increases[N] if len(rows) > 1 else 0)


@given(LIVES)
def test_growth_is_what_was_served_after_the_first_look(lives: list[Life]) -> None:
    rows = history(lives)
    served = sum(life.counts[-1] for life in lives) - lives[0].counts[0]

    increases = window_over(rows).increases

    assert increases.get(N, 0) == served


@given(LIVES)
def test_only_the_ends_of_lives_matter_between_the_ends_of_a_window(lives: list[Life]) -> None:
    rows = history(lives)
    last_of_lives = [row for row, following in pairwise(rows) if row.epoch != following.epoch]
    needed = [rows[0], *(row for row in last_of_lives if row is not rows[0]), rows[-1]]

    if len(rows) > 1:
        assert window_over(needed).increases == window_over(rows).increases
