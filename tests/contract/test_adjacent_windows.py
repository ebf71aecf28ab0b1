"""A span cut into adjacent windows, over SQLite and over PostgreSQL: nothing is lost or doubled."""

import pytest
from stored_readings import SERVED, reading

from service.monitoring.history import History
from service.monitoring.snapshot import Snapshot
from service.monitoring.window import Window
from service.sources.stored_windows import StoredWindows


@pytest.fixture
def source(history: History) -> StoredWindows:
    """One life from 100 to 123 that served 30, and from 160 on another that has served 50."""
    zero = Snapshot(at=100, epoch=100, counters={}, gauges={})
    history.append(100, zero)
    for tick, served in ((105, 4), (110, 10), (115, 10), (120, 25)):
        history.append(tick, reading(tick + 0.25, epoch=100, served=served))
    history.append_final(reading(123, epoch=100, served=30))
    history.append(160, Snapshot(at=160, epoch=160, counters={}, gauges={}))
    for tick, served in ((165, 20), (170, 50)):
        history.append(tick, reading(tick + 0.25, epoch=160, served=served))
    return StoredWindows(history)


def told(window: Window | None) -> tuple[float, float, float] | None:
    return None if window is None else (window.start, window.end, window.increases[SERVED])


def test_each_window_has_its_own_growth_and_its_true_ends(source: StoredWindows) -> None:
    starts = [90.0, 100, 110, 120, 130, 140, 150, 160]

    assert [told(window) for window in source.adjacent(starts, until=170.25)] == [
        None,  # before anything was stored
        (100, 110.25, 10),
        (110.25, 120.25, 15),
        (120.25, 123, 5),  # to the end of the first life
        None,
        None,
        None,
        (160, 170.25, 50),  # from the beginning of the second
    ]


def test_a_window_over_a_restart_has_what_both_lives_did(source: StoredWindows) -> None:
    assert [told(window) for window in source.adjacent([105, 120], until=165.25)] == [
        (105.25, 120.25, 21),
        (120.25, 165.25, 25),
    ]


def test_where_history_begins_within_a_window_so_does_the_window(source: StoredWindows) -> None:
    assert [told(window) for window in source.adjacent([60, 80, 110], until=115.25)] == [
        None,
        (100, 110.25, 10),
        (110.25, 115.25, 0),
    ]


def test_the_newest_row_is_that_of_the_last_life(source: StoredWindows) -> None:
    newest = source.newest()

    assert newest is not None
    assert newest.counters[SERVED] == 50


def test_an_empty_history_has_no_windows(history: History) -> None:
    empty = StoredWindows(history)

    assert empty.newest() is None
    assert empty.adjacent([100.0, 110.0], until=120.0) == [None, None]
