"""Steps of a span: how long they are, where they begin, and what is in them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.monitoring import catalogue
from service.monitoring.over_time import boundaries, step_seconds, steps
from service.monitoring.snapshot import Series
from service.monitoring.window import Window

MODEL = (("model", "m"), ("version", "1"))


@pytest.mark.parametrize(
    ("span", "points", "interval", "step"),
    [
        (900, 60, 5, 15),  # as it divides
        (900, 72, 5, 15),  # 12.5 s is no usual step
        (900, 60, 10, 30),  # 15 s is no multiple of 10 s
        (60, 60, 1, 1),
        (60, 60, 60, 60),  # no finer than the snapshots
        (3600, 60, 5, 60),
        (3 * 3600, 500, 5, 60),  # beyond two hours the history has minutes
        (86_400, 24, 5, 3600),
        (604_800, 84, 5, 7200),
        (604_800, 2, 5, 345_600),  # whole days
    ],
)
def test_a_step_is_a_usual_length_that_snapshots_divide(
    span: float, points: int, interval: float, step: int
) -> None:
    assert step_seconds(span, points, interval_seconds=interval) == step


def test_boundaries_are_those_of_the_clock_and_the_last_step_goes_on() -> None:
    assert boundaries(60, 15, until=1000) == [945, 960, 975, 990]
    assert boundaries(60, 15, until=1004.9) == [945, 960, 975, 990]
    assert boundaries(60, 15, until=990) == [930, 945, 960, 975]
    assert boundaries(5, 60, until=1000) == [960]


@given(
    span=st.floats(1, 1e6),
    points=st.integers(1, 500),
    interval=st.sampled_from([1, 2, 3, 5, 12, 15, 60]),
    until=st.floats(1.7e9, 1.8e9),
)
def test_there_are_at_most_so_many_steps_and_they_end_with_the_span(
    span: float, points: int, interval: int, until: float
) -> None:
    step = step_seconds(span, points, interval_seconds=interval)
    starts = boundaries(span, step, until=until)

    assert step % interval == 0
    assert 1 <= len(starts) <= points
    assert starts[-1] < until <= starts[-1] + step
    assert all(later - earlier == step for earlier, later in pairwise(starts))


def window(start: float, end: float, successes: float, errors: float) -> Window:
    outcomes = {"success": successes, "error": errors}
    return Window(
        start=start,
        end=end,
        increases={
            Series(catalogue.REQUESTS.name, (*MODEL[:1], ("outcome", outcome), *MODEL[1:])): count
            for outcome, count in outcomes.items()
        },
    )


def test_a_step_has_its_true_ends_and_the_rate_over_them() -> None:
    [step] = steps([960], [window(962, 992, 9, 1)], until=992)

    found = step.models["m"]
    assert (step.start, step.end) == (962, 992)
    assert (found.total_requests, found.error_count, found.error_rate) == (10, 1, 10)
    assert found.requests_per_minute == 20
    assert found.mean_prediction is None


def test_what_is_not_known_is_absent_and_a_step_without_a_reading_yet_is_left_out() -> None:
    known = window(975, 990, 1, 0)

    gap, after = steps([960, 975], [None, known], until=990)
    assert (gap.start, gap.end, gap.models) == (960, 975, {})
    assert after.models
    assert [step.start for step in steps([975, 990], [known, None], until=990.1)] == [975]
    assert [step.models for step in steps([990], [None], until=990.1)] == [{}]
