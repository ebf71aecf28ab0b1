"""A fleet's counters: the sum over instances, each one's resets told apart."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.monitoring.fleet import FleetState, Reading, advance, snapshot_of
from service.monitoring.snapshot import Series
from service.monitoring.window import window_over

SERVED = Series("ctr_requests_total", (("model", "xgboost"), ("outcome", "success")))
SHORTEST = Series("ctr_request_duration_seconds_min", (("model", "xgboost"),))
LONGEST = Series("ctr_request_duration_seconds_max", (("model", "xgboost"),))
BUSY = Series("ctr_requests_in_progress", (("model", "xgboost"),))
LAST = Series("ctr_prediction_ratio_last", (("model", "xgboost"),))
JUDGED = Series("ctr_no_such_gauge", ())


def reading(at: float, served: float, *, epoch: float = 0.0) -> Reading:
    return Reading(at, epoch, {SERVED: served}, {})


def folded(*steps: tuple[float, Mapping[str, Sequence[Reading]]]) -> FleetState:
    state = None
    for until, readings in steps:
        state = advance(state, readings, until)
    assert state is not None
    return state


def test_a_fleet_is_the_sum_of_its_instances() -> None:
    state = folded((10, {"a": [reading(9, 5)], "b": [reading(8, 7)]}))

    assert state.totals[SERVED] == 12
    assert snapshot_of(state, alive_since=0).instances == 2


def test_growth_is_counted_once_however_often_a_scrape_is_seen() -> None:
    first = {"a": [reading(9, 5)]}
    state = folded((10, first), (20, {"a": [*first["a"], reading(19, 8)]}), (30, first))

    assert state.totals[SERVED] == 8


def test_a_scrape_of_after_the_tick_belongs_to_the_next() -> None:
    early = folded((10, {"a": [reading(9, 5), reading(11, 6)]}))
    late = advance(early, {"a": [reading(9, 5), reading(11, 6)]}, 20)

    assert (early.totals[SERVED], late.totals[SERVED]) == (5, 6)


def test_a_restart_that_has_outgrown_the_old_life_is_seen_by_its_epoch() -> None:
    state = folded((10, {"a": [reading(9, 5)]}), (20, {"a": [reading(19, 6, epoch=12)]}))

    assert state.totals[SERVED] == 11


def test_what_a_dead_instance_had_counted_stays() -> None:
    state = folded(
        (10, {"a": [reading(9, 5)], "b": [reading(9, 3)]}),
        (20, {"a": [reading(19, 6)], "b": [reading(12, 4)]}),
        (60, {"a": [reading(59, 9)]}),
    )

    assert state.totals[SERVED] == 9 + 4
    assert snapshot_of(state, alive_since=50).instances == 1


def test_a_replica_that_replaces_another_counts_from_its_beginning() -> None:
    state = folded(
        (100, {"a": [reading(99, 50)]}),
        (110, {"c": [reading(109, 4, epoch=95)]}),  # began shortly before the last tick
    )

    assert state.totals[SERVED] == 54


def test_an_instance_that_ran_long_before_anybody_looked_brings_no_growth() -> None:
    state = folded(
        (1000, {"a": [reading(999, 50)]}),
        (1010, {"old": [reading(1009, 1e6, epoch=5)]}),
        (1020, {"old": [reading(1019, 1e6 + 3, epoch=5)]}),
    )

    assert state.totals[SERVED] == 53


def test_a_window_over_a_restart_of_one_instance_holds_both_sides() -> None:
    first = folded((10, {"a": [reading(9, 5)], "b": [reading(9, 100)]}))
    second = advance(first, {"a": [reading(14, 7), reading(19, 2, epoch=16)]}, 20)

    window = window_over([snapshot_of(state, alive_since=0) for state in (first, second)])

    assert window.increases[SERVED] == 2 + 2
    assert (window.start, window.end) == (10, 20)


@given(
    growth=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 50), st.booleans()), min_size=1, max_size=40
    ),
    ticks=st.integers(1, 7),
)
def test_the_total_is_all_that_was_counted_however_ticks_and_restarts_fall(
    growth: list[tuple[int, int, bool]], ticks: int
) -> None:
    counted = {"0": 0, "1": 0, "2": 0}
    epochs = {"0": 0.5, "1": 0.5, "2": 0.5}
    scrapes: dict[str, list[Reading]] = {name: [reading(1, 0, epoch=0.5)] for name in counted}
    for second, (instance, more, restart) in enumerate(growth, start=2):
        name = str(instance)
        if restart:
            counted[name], epochs[name] = 0, second - 0.5
        counted[name] += more
        scrapes[name].append(reading(second, counted[name], epoch=epochs[name]))
    state, end = None, len(growth) + 2
    for until in [*range(2, end, ticks), end]:
        state = advance(state, scrapes, until)

    assert state is not None
    assert state.totals[SERVED] == sum(more for _, more, _ in growth)


def test_gauges_are_merged_as_their_metric_says_over_living_instances() -> None:
    def gauges(shortest: float, longest: float, busy: float, last: float) -> dict[Series, float]:
        return {SHORTEST: shortest, LONGEST: longest, BUSY: busy, LAST: last, JUDGED: 1.0}

    state = folded(
        (
            100,
            {
                "a": [Reading(98, 0, {}, gauges(0.01, 0.5, 2, 0.1))],
                "b": [Reading(99, 0, {}, gauges(0.02, 0.9, 3, 0.2))],
                "dead": [Reading(50, 0, {}, gauges(0.001, 9, 7, 0.3))],
            },
        )
    )

    assert snapshot_of(state, alive_since=90).gauges == {
        SHORTEST: 0.01,
        LONGEST: 0.9,
        BUSY: 5,
        LAST: 0.2,
    }


def test_a_fleet_survives_its_text() -> None:
    state = folded(
        (
            10,
            {
                "a": [Reading(9, 0.1 + 0.2, {SERVED: 5e-324}, {SHORTEST: 0.1})],
                "b": [reading(8, 2.0**53 - 1)],
            },
        )
    )

    again = FleetState.from_json(state.to_json())

    assert (again.at, again.epoch, again.totals, again.last) == (
        state.at,
        state.epoch,
        state.totals,
        state.last,
    )
    assert math.isclose(again.totals[SERVED], 2.0**53)


@pytest.mark.parametrize("text", ["{}", "[]", '{"at": 1}', "nonsense"])
def test_what_is_no_fleet_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not the state of a fleet|Expecting value"):
        FleetState.from_json(text)
