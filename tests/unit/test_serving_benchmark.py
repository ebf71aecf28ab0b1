"""Rounds, ratios and verdicts of the benchmark of serving."""

import math
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.serving.results import SAME, Goal, Row, Verdict
from benchmarks.serving.rounds import AgainstItself, Comparison, Spread, interleaved


def test_each_run_takes_every_place_of_a_round() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in ("a", "b", "c")}

    interleaved(runs, rounds=6)

    rounds = [order[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    for place in range(3):
        assert {one[place] for one in rounds} == {"a", "b", "c"}
    followed = {(one, other) for one, other in pairwise(order) if one != other}
    assert len(followed) == 6  # nothing always follows the same


def test_ratios_are_taken_within_rounds() -> None:
    # The second round was twice as slow for both; a ratio of medians would say 1.5.
    assert Spread.of_ratios([10, 20, 15], [10, 20, 10]) == Spread(1.0, 1.0, 1.5)


def test_what_is_the_same_is_outside_its_interval_one_time_in_twenty() -> None:
    rng = np.random.default_rng(3)
    rounds, trials, outside = 8, 400, 0
    for _ in range(trials):
        on, off, again = np.exp(rng.normal(0, 0.1, (3, rounds))).tolist()
        compared = Comparison.of(on, off, again)
        outside += not compared.itself.holds(compared.ratio.median)

    # Few rounds tell the noise only roughly: somewhat more than the 5 % of many rounds.
    assert 0.03 * trials <= outside <= 0.12 * trials


def test_a_difference_larger_than_the_noise_is_seen() -> None:
    noise = np.exp(np.random.default_rng(4).normal(0, 0.02, (3, 6)))
    compared = Comparison.of((1.1 * noise[0]).tolist(), noise[1].tolist(), noise[2].tolist())

    assert not compared.itself.holds(compared.ratio.median)
    assert math.isclose(compared.itself.lowest * compared.itself.highest, 1.0)


@pytest.mark.parametrize(
    ("value", "goal", "verdict"),
    [
        (1.6, Goal(1.0, 1.5), Verdict.REACHED),
        (1.2, Goal(1.0, 1.5), Verdict.MET),
        (0.9, Goal(1.0, 1.5), Verdict.MISSED),
        (0.9, Goal(1.5, 1.0, more_is_better=False), Verdict.REACHED),
        (1.2, Goal(1.5, 1.0, more_is_better=False), Verdict.MET),
        (1.6, Goal(1.5, 1.0, more_is_better=False), Verdict.MISSED),
        (1.6, Goal(), Verdict.REPORTED),
        (1.04, Goal(1.1, SAME, more_is_better=False), Verdict.WITHIN),
        (1.07, Goal(1.1, SAME, more_is_better=False), Verdict.MET),
        (1.2, Goal(1.1, SAME, more_is_better=False), Verdict.MISSED),
        (1.2, Goal(SAME, SAME, more_is_better=False), Verdict.BEYOND),
        (0.8, Goal(SAME, SAME, more_is_better=False), Verdict.BETTER),
        (0.8, Goal(SAME, SAME), Verdict.BEYOND),
    ],
)
def test_a_verdict_says_how_a_figure_stands_to_its_goal(
    value: float, goal: Goal, verdict: Verdict
) -> None:
    itself = AgainstItself(0.95, 1.05) if SAME in {goal.must, goal.reach} else None

    assert Row("", Spread.of([value]), goal, against_itself=itself).verdict == verdict


def test_noise_larger_than_the_goal_decides_nothing() -> None:
    goal, noise = Goal(1.1, SAME, more_is_better=False), AgainstItself(0.5, 2.0)

    verdicts = [
        Row("", Spread.of([value]), goal, against_itself=noise).verdict
        for value in (1.05, 1.5, 2.1)
    ]

    assert verdicts == [Verdict.WITHIN, Verdict.UNCLEAR, Verdict.MISSED]


def test_what_was_not_measured_is_not_missed() -> None:
    assert Row("", None, Goal(1.0, 1.5)).verdict == Verdict.NOT_MEASURED
