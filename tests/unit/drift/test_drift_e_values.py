"""The e-values: hand-computed increments; no bet gains on average where nothing is wrong."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drift_judgement import TOMORROW, detector
from drift_traffic import (
    MEAN,
    MIDNIGHT,
    STD,
    Traffic,
    traffic,
)

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.drift.bank import Bank
from service.monitoring.drift.part import PartTicks
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats, Ticks


def test_an_increment_of_the_mean_channel_matches_a_hand_computed_case(still: Reference) -> None:
    # One cell: upwards, size 0.2, zone 0.02, no wander. N = 100, Z = 30, H about 0 = 120.
    bank = Bank.of(still.predictions)
    cell = int(np.flatnonzero((bank.channel == 0) & (bank.side > 0))[0])
    bank = replace(
        bank,
        size=np.full_like(bank.size, 0.2),
        zone=np.full_like(bank.zone, 0.02),
    )
    nothing = np.zeros((1, len(still.predictions.zones)))
    sums = nothing.copy()
    sums[0, 0] = 30.0

    found = bank.log_factors(
        count=np.array([100.0]),
        sums=sums,
        squares=np.array([120.0]),
        predicted=nothing,
        doubt=nothing,
        standing=nothing + 1,
    )

    tilt = 0.2 / 1.02
    about = 120 - 2 * 0.02 * 30 + 0.02**2 * 100
    expected = tilt * (30 - 100 * 0.02) - tilt**2 / 6 * (about + 2 * 100 * 1.02)
    assert found[0, cell] == pytest.approx(expected)


@pytest.mark.parametrize("mean", [MEAN * 0.99, MEAN, MEAN * 1.01])
def test_no_cell_gains_on_average_while_the_mean_is_within_its_zone(
    known: Reference, mean: float
) -> None:
    factors = factors_of(known, Traffic(mean=mean, std=STD * mean / MEAN))

    error = factors.std(axis=0) / math.sqrt(len(factors))
    assert (factors.mean(axis=0) <= 1 + 4 * error).all()


def test_some_cell_gains_on_average_once_the_mean_has_left_its_zone(known: Reference) -> None:
    factors = factors_of(known, Traffic(mean=MEAN * 1.05))

    error = factors.std(axis=0) / math.sqrt(len(factors))
    assert (factors.mean(axis=0) > 1 + 4 * error).any()


def test_no_cell_gains_on_average_while_the_mean_wanders_as_it_did(wandering: Reference) -> None:
    ticks = traffic(5760, seed=77, start=TOMORROW, wander=0.01)
    part = detector(wandering)._parts[0]  # noqa: SLF001 - its increments are the claim
    seen = wandering.predictions.course.standardise(ticks.time, ticks.predictions)
    _, _, factors = part._factors(  # noqa: SLF001
        part.start(),
        part_ticks(ticks),
        seen,
    )

    smooth = factors[:, : len(Bank.of(wandering.predictions).channel)]
    error = smooth.std(axis=0) / math.sqrt(len(smooth))
    assert (smooth.mean(axis=0) <= 1 + 4 * error).all()


def test_evidence_of_an_empty_tick_grows_by_the_ticks_that_it_stands_for(still: Reference) -> None:
    def empty(quantity: Aggregates) -> Aggregates:
        return replace(
            quantity, buckets=quantity.buckets * 0, total=np.zeros(2), squares=np.zeros(2)
        )

    some = traffic(2, seed=3)
    ticks = Ticks(
        time=np.array([MIDNIGHT, MIDNIGHT + 4 * TICK_SECONDS]),
        predictions=empty(some.predictions),
        latency=empty(some.latency),
    )

    state, _ = detector(still).advance(detector(still).start(), ticks)

    # No bet was settled: R = 1 after the first, 1 + 4 after the second.
    smooth = state.quantities[0].cells[: len(Bank.of(still.predictions).channel)]
    assert smooth.tolist() == [5.0] * len(smooth)


def test_no_bet_is_lost_nor_made_up_as_it_ages(wandering: Reference) -> None:
    some = traffic(50, seed=3)
    ticks = replace(some, predictions=nothing_of(some.predictions))

    state, _ = detector(wandering).advance(detector(wandering).start(), ticks)

    # Nothing was settled: one unit a tick, spread over the ages of each bet.
    bank = Bank.of(wandering.predictions)
    cells = state.quantities[0].cells[: len(bank.channel)]
    bets = np.unique(np.stack([bank.channel, bank.side, bank.size]), axis=1, return_inverse=True)[1]
    assert len(set(bets.tolist())) < len(bets)
    assert np.bincount(bets, cells) == pytest.approx(50)


def test_an_increment_of_a_bucket_channel_pays_for_the_law_and_for_the_filters_doubt(
    wandering: Reference,
) -> None:
    # Upwards, N = 1000, Z = 20, prediction 0.001, doubt 0.0004. The law is flat, so one moment
    # generating function, here from its definition.
    predictions = wandering.predictions
    bank, law = Bank.of(predictions), predictions.course.law
    assert law is not None
    function = predictions.course.functions[:, 0]
    channels = len(predictions.zones)

    found = bank.log_factors(
        count=np.array([1000.0]),
        sums=np.full((1, channels), 20.0),
        squares=np.array([1000.0]),
        predicted=np.full((1, channels), 0.001),
        doubt=np.full((1, channels), 0.0004),
        standing=np.zeros((1, channels)),
    )[0]

    for cell in np.flatnonzero((bank.channel == 1) & (bank.side > 0)):
        expected = bank.size[cell] * bank.response[cell]
        tilt = expected / (1.02 + 1000 * 0.0004)
        gain = tilt * (20 - 1000 * 0.001 - 1000 * bank.response[cell] * bank.zone[cell])
        moment = 1000 * 1.02 * math.log(law @ np.exp(tilt * function))
        exact = gain - moment - tilt**2 * 1000**2 * 0.0004 / 2
        # The polynomial in place of the logarithm may only cost, and little.
        assert exact - 0.01 * moment <= found[cell] <= exact + 1e-9


def test_a_learnt_bet_gains_nothing_on_average_at_the_edge_of_what_is_immaterial(
    known: Reference,
) -> None:
    ripple = known.predictions.ripple
    assert ripple is not None
    law, groups = ripple.laws[0], ripple.groups
    learnt = np.tile(np.where(np.arange(len(law)) % 2, 20.0, -20.0), (4, 1)) / law.max()
    memory = np.column_stack([learnt, np.full((4, 2), 300.0)]).ravel()

    def settled(group: int) -> Floats:
        """One observation in that group."""
        buckets = np.zeros((1, len(PREDICTION_BOUNDS) + 1))
        buckets[0, groups[group]] = 1.0
        one = Aggregates(
            total=np.zeros(1),
            squares=np.zeros(1),
            buckets=buckets,
            bounds=np.asarray(PREDICTION_BOUNDS),
        )
        return np.asarray(ripple.fold(memory, np.array([TOMORROW]), one)[1][0])

    factors = np.exp([settled(group) for group in range(len(law))])
    ratio = factors / (law @ factors)
    chi = np.sqrt(law @ (ratio - 1) ** 2)
    edge = law[:, None] * (1 + ripple.radius * (ratio - 1) / chi)
    assert (chi > 0.01).all()
    assert edge.sum(axis=0) == pytest.approx(1)
    gain = (edge * factors).sum(axis=0)
    assert (gain <= 1 + 1e-9).all()
    # exp(-x) (1 + x) with x = radius * chi: no dearer than it must be.
    assert gain == pytest.approx(np.exp(-ripple.radius * chi) * (1 + ripple.radius * chi))


def part_ticks(ticks: Ticks) -> PartTicks:
    return PartTicks(
        time=ticks.time, elapsed=np.ones(len(ticks)), quantity=ticks.predictions, begin=0
    )


def factors_of(reference: Reference, what: Traffic) -> np.ndarray:
    ticks = traffic(6000, replace(what, per_tick=100), seed=7, start=TOMORROW)
    seen = reference.predictions.course.standardise(ticks.time, ticks.predictions)
    bank = Bank.of(reference.predictions)
    nothing = np.zeros_like(seen.sums)
    return np.exp(
        bank.log_factors(
            count=seen.count,
            sums=seen.sums,
            squares=seen.squares,
            predicted=nothing,
            doubt=nothing,
            standing=nothing + 1,
        )
    )


def nothing_of(quantity: Aggregates) -> Aggregates:
    return replace(
        quantity,
        buckets=quantity.buckets * 0,
        total=quantity.total * 0,
        squares=quantity.squares * 0,
    )
