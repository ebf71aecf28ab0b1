"""Counters over shared layouts say what dictionaries of the same numbers say."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.monitoring.counters import Counters, Layout
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import window_over

A, B, C, D = (Series("n_total", (("model", name),)) for name in "abcd")

values = st.dictionaries(st.sampled_from([A, B, C, D]), st.floats(0, 1e12), max_size=4)
lives = st.lists(st.tuples(st.integers(0, 3), values), min_size=1, max_size=5)


def test_a_mapping_comes_back_as_it_was() -> None:
    mapping = {B: 2.5, A: 1.0}

    counters = Counters.of(mapping)

    assert counters == mapping
    assert list(counters.items()) == list(mapping.items())
    assert counters[A] == 1.0
    with pytest.raises(KeyError):
        counters[C]


def test_values_in_the_order_of_other_series_are_zero_where_there_are_none() -> None:
    counters = Counters.of({A: 1.0, B: 2.0})

    assert counters.in_order_of(Layout([C, B])).tolist() == [0.0, 2.0]


def test_joined_layouts_hold_every_series_once_in_the_order_of_appearance() -> None:
    joined = Layout([B, A]).joined(Layout([C, A, D]))

    assert joined.series == (B, A, C, D)


def test_a_layout_joined_with_no_more_than_its_own_series_is_itself() -> None:
    layout = Layout([A, B])

    assert layout.joined(Layout([B])) is layout


def test_what_follows_from_the_series_is_worked_out_once() -> None:
    asked = []

    def count(series: tuple[Series, ...]) -> int:
        asked.append(series)
        return len(series)

    layout = Layout([A, B])

    assert [layout.once(count), layout.once(count)] == [2, 2]
    assert asked == [(A, B)]


@given(lives)
def test_a_window_is_what_adding_up_series_by_series_gives(
    readings: list[tuple[int, dict[Series, float]]],
) -> None:
    epochs = sorted(epoch for epoch, _ in readings)
    snapshots = [
        Snapshot(at=10.0 * i, epoch=float(epoch), counters=counters, gauges={})
        for i, (epoch, (_, counters)) in enumerate(zip(epochs, readings, strict=True))
    ]
    expected: dict[Series, float] = {}
    for before, after in pairwise(snapshots):
        for series, value in after.counters.items():
            earlier = before.counters.get(series, 0.0) if before.epoch == after.epoch else 0.0
            expected[series] = expected.get(series, 0.0) + max(value - earlier, 0.0)

    assert list(window_over(snapshots).increases.items()) == list(expected.items())
