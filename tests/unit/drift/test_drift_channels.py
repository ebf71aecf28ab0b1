"""Channels and filters: what is bet on, and what the wander explains of it."""

import math

import numpy as np
import pytest
from drift_traffic import MEAN, STD, Traffic, captured, joined, traffic

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.drift.bank import Bank
from service.monitoring.drift.channels import channel_functions
from service.monitoring.drift.course import Standardised
from service.monitoring.drift.kalman import Filtered, wander_filter
from service.monitoring.drift.reference import Reference

HOURS = np.arange(24) + 0.5


def test_channels_have_mean_0_and_variance_1_and_keep_the_moments_below_theirs() -> None:
    ticks = traffic(200, seed=3)
    law = ticks.predictions.buckets.sum(axis=0)
    law /= law.sum()

    functions = channel_functions(law, np.asarray(PREDICTION_BOUNDS), 3)

    assert law @ functions == pytest.approx(np.zeros(3), abs=1e-9)
    assert law @ functions**2 == pytest.approx(np.ones(3))
    middle = np.sqrt(np.asarray(PREDICTION_BOUNDS)[1:] * np.asarray(PREDICTION_BOUNDS)[:-1])
    inner = law[1:-1]
    spread, skew = functions[1:-1, 1], functions[1:-1, 2]
    assert abs(inner @ (spread * middle)) < 0.02 * STD
    assert abs(inner @ (skew * middle)) < 0.02 * STD
    assert abs(inner @ (skew * middle**2)) < 0.1 * STD**2


def test_few_buckets_leave_few_channels() -> None:
    law = np.array([0.5, 0.5, 0.0])

    assert channel_functions(law, np.array([0.1, 0.2]), 3).shape == (3, 1)


def test_a_filter_learns_a_constant_and_never_more_than_the_wander_allows(
    wandering: Reference,
) -> None:
    bank = Bank.of(wandering.predictions)
    channels = len(bank.wander)
    std = math.sqrt(bank.wander[0])

    def level_after(shift: float) -> float:
        seen = Standardised(
            count=np.full(500, 300.0),
            sums=np.full((500, channels), 300.0 * shift),
            squares=np.full(500, 300.0),
        )
        nothing = np.zeros(channels)
        (level, _, _), _ = wander_filter(
            bank, (nothing, bank.wander.copy(), nothing), seen, np.ones(500)
        )
        return float(level[0])

    assert 0.2 * std < level_after(0.5 * std) < 0.45 * std
    assert level_after(100 * std) < 6.5 * std


def test_a_tick_after_missed_ones_is_conditioned_on_as_the_mean_that_it_is(
    wandering: Reference,
) -> None:
    bank = Bank.of(wandering.predictions)
    channels = len(bank.wander)
    count, shift = np.array([300.0, 1200.0, 300.0]), np.array([0.01, -0.02, 0.0])
    nothing = np.zeros(channels)

    _, known = wander_filter(
        bank,
        (nothing, bank.wander.copy(), nothing),
        Standardised(
            count=count,
            sums=np.repeat((count * shift)[:, None], channels, axis=1),
            squares=count,
        ),
        np.array([1.0, 4.0, 1.0]),
    )

    # Six ticks of a wander; seen are the first alone, then four at once; asked is the last.
    place = np.arange(6)
    wander = bank.wander[0] * bank.decay[0] ** np.abs(place[:, None] - place)
    seeing = np.array([[1, 0, 0, 0, 0, 0], [0, 0.25, 0.25, 0.25, 0.25, 0], [0, 0, 0, 0, 0, 1]])
    joint = seeing @ wander @ seeing.T
    for asked in (1, 2):
        seen = joint[:asked, :asked] + np.diag(1 / count[:asked])
        weights = np.linalg.solve(seen, joint[:asked, asked])
        assert known.predicted[asked, 0] == pytest.approx(weights @ shift[:asked])
        assert known.doubt[asked, 0] == pytest.approx(
            joint[asked, asked] - weights @ joint[:asked, asked]
        )


def test_what_the_filter_leaves_of_a_standing_shift_is_known_exactly(wandering: Reference) -> None:
    bank, _, known = standing_shift(wandering, per_tick=30.0, shift=np.full(4, 0.001))

    seen = np.flatnonzero(bank.wander > 0)
    left = (0.001 - known.predicted) / 0.001
    assert known.standing[:, seen] == pytest.approx(left[:, seen])
    assert (known.standing[0] == 1).all()


@pytest.mark.parametrize("per_tick", [3.0, 30.0, 300.0, 3000.0])
def test_no_cell_gains_from_a_shift_of_its_zone_whatever_the_traffic(
    wandering: Reference, per_tick: float
) -> None:
    zones = wandering.predictions.zones
    bank, seen, known = standing_shift(wandering, per_tick=per_tick, shift=zones)

    found = bank.log_factors(
        count=seen.count,
        sums=seen.sums,
        squares=seen.squares,
        predicted=known.predicted,
        doubt=known.doubt,
        standing=known.standing,
    )

    # Without sampling noise nothing but the shift is there to gain from.
    assert (found <= 1e-12).all()


def test_a_bucket_channels_moment_is_that_of_the_worst_hour() -> None:
    swing = np.sin(2 * math.pi * HOURS / 24)
    day = joined(
        *(
            traffic(240, Traffic(mean=MEAN * (1 + 0.2 * x), std=STD * (1 + 0.5 * x)), seed=h)
            for h, x in enumerate(swing.tolist())
        )
    )
    course = Reference.of(captured(day), materiality=0.01).predictions.course
    hours = captured(day).predictions
    assert hours is not None

    logs = []
    for law in hours.counts / hours.counts.sum(axis=1, keepdims=True):
        function = course.functions[:, 1] - law @ course.functions[:, 1]
        z = function / math.sqrt(law @ function**2)
        logs.append(math.log(law @ np.exp(0.5 * z)))
    assert course.log_moment(2, np.array([0.5]))[0] == pytest.approx(max(logs))
    assert np.mean(logs) < 0.98 * max(logs)


def test_all_weights_together_are_one_as_the_budget_is_shared() -> None:
    reference = Reference.of(captured(traffic(1000, seed=7)), materiality=0.01)

    shares = [q.weights.sum() + q.ripple_weight for q in reference.quantities]
    entering = [bank.weight[bank.source < 0].sum() for bank in map(Bank.of, reference.quantities)]

    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1)
    # What enters the sums at a tick: a cell's weight, once for all of its ages.
    assert sum(entering) + reference.predictions.ripple_weight == pytest.approx(1)


def standing_shift(
    reference: Reference, *, per_tick: float, shift: np.ndarray
) -> tuple[Bank, Standardised, Filtered]:
    """Two thousand ticks of it, without sampling noise."""
    bank = Bank.of(reference.predictions)
    nothing = np.zeros(len(bank.wander))
    seen = Standardised(
        count=np.full(2000, per_tick),
        sums=np.tile(per_tick * shift, (2000, 1)),
        squares=np.full(2000, per_tick * (1 + shift[0] ** 2)),
    )
    _, known = wander_filter(bank, (nothing, bank.wander.copy(), nothing), seen, np.ones(2000))
    return bank, seen, known
