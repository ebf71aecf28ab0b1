"""The detector: silent on what is normal, quick on what is not, on traffic and on four numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drift_judgement import TOMORROW, first, judged
from drift_traffic import (
    MEAN,
    MIDNIGHT,
    NORMAL,
    STD,
    Traffic,
    captured,
    four_numbers,
    joined,
    traffic,
)

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Ticks

# silence


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_two_normal_days_raise_nothing(known: Reference, seed: int) -> None:
    assert not judged(known, traffic(11_520, seed=seed, start=TOMORROW)).alarms


@pytest.mark.parametrize("seed", [21, 22, 23])
def test_two_days_of_a_wander_that_was_measured_raise_nothing(
    wandering: Reference, seed: int
) -> None:
    ticks = traffic(11_520, seed=seed, start=TOMORROW, wander=0.01)

    assert not judged(wandering, ticks).alarms


def test_the_same_wander_alarms_where_the_baseline_did_not_have_it(known: Reference) -> None:
    ticks = traffic(11_520, seed=21, start=TOMORROW, wander=0.03)

    assert judged(known, ticks).alarms


@pytest.mark.parametrize("factor", [0.995, 1.005])
def test_a_shift_of_half_a_percent_is_immaterial_at_500_million_predictions(factor: float) -> None:
    reference = Reference.of(captured(exact_traffic(400, 1.0)), materiality=0.01)

    evidence = judged(reference, exact_traffic(200, factor, start=TOMORROW))

    assert not evidence.alarms
    assert evidence.log_evidence.max() < 10


def test_a_shift_of_three_percent_is_material_at_once_at_that_traffic() -> None:
    reference = Reference.of(captured(exact_traffic(400, 1.0)), materiality=0.01)

    assert first(judged(reference, exact_traffic(5, 1.03, start=TOMORROW))) == (
        0,
        DriftKind.MEAN_SHIFT,
    )


# what is wrong, and how soon


@pytest.mark.parametrize(
    ("what", "kind", "within"),
    [
        (Traffic(mean=MEAN * 1.1, std=STD * 1.1), DriftKind.MEAN_SHIFT, 12),
        (Traffic(mean=MEAN * 0.9, std=STD * 0.9), DriftKind.MEAN_SHIFT, 12),
        (Traffic(std=STD * math.sqrt(1.5)), DriftKind.VARIANCE_CHANGE, 10),
        (Traffic(std=STD * math.sqrt(0.5)), DriftKind.VARIANCE_CHANGE, 10),
        (Traffic(latency=0.0456 * 1.1), DriftKind.LATENCY_ANOMALY, 12),
    ],
)
@pytest.mark.parametrize("seed", [31, 32])
def test_a_change_is_found_soon_and_called_by_its_name(
    known: Reference, what: Traffic, kind: DriftKind, within: int, seed: int
) -> None:
    before = traffic(200, seed=seed, start=TOMORROW)

    evidence = judged(known, joined(before, traffic(60, what, seed=seed + 100)))

    tick, named = first(evidence)
    assert 200 <= tick < 200 + within
    assert named is kind
    assert evidence.alarms[0].since == pytest.approx(before.time[-1], abs=10 * TICK_SECONDS)


def test_a_law_of_the_same_moments_but_another_shape_is_a_shape_change(known: Reference) -> None:
    ticks = traffic(40, seed=41, start=TOMORROW)
    bimodal = np.random.default_rng(41).choice([0.011, 0.035], size=(40, 300))
    scores = bimodal * np.exp(0.02 * np.random.default_rng(42).standard_normal((40, 300)))
    counts = np.stack(
        [
            np.bincount(
                np.searchsorted(PREDICTION_BOUNDS, row), minlength=len(PREDICTION_BOUNDS) + 1
            )
            for row in scores
        ]
    )
    strange = replace(
        ticks,
        predictions=Aggregates(
            total=scores.sum(axis=1),
            squares=(scores**2).sum(axis=1),
            buckets=counts.astype(np.float64),
            bounds=np.asarray(PREDICTION_BOUNDS),
        ),
    )

    tick, kind = first(judged(known, strange))
    assert tick < 3
    assert kind is DriftKind.SHAPE_CHANGE


def test_a_ripple_between_neighbouring_buckets_is_found(known: Reference) -> None:
    ticks = traffic(80, seed=51, start=TOMORROW)
    rng = np.random.default_rng(52)
    buckets = ticks.predictions.buckets.copy()
    # A fifth of every second bucket moves to its neighbour.
    for low in range(8, 24, 2):
        moved = rng.binomial(buckets[:, low].astype(int), 0.2)
        buckets[:, low] -= moved
        buckets[:, low + 1] += moved
    rippled = replace(ticks, predictions=replace(ticks.predictions, buckets=buckets))

    evidence = judged(known, rippled)

    assert evidence.alarms
    assert evidence.alarms[0].tick < 40


def test_ten_percent_stands_out_from_a_wander(wandering: Reference) -> None:
    before = traffic(400, seed=61, start=TOMORROW, wander=0.01)
    after = traffic(100, Traffic(mean=MEAN * 1.1, std=STD * 1.1), seed=62, wander=0.01)

    tick, kind = first(judged(wandering, joined(before, after)))

    assert 400 <= tick < 430
    assert kind is DriftKind.MEAN_SHIFT


# four numbers


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (Traffic(mean=2 * MEAN, per_tick=20), DriftKind.MEAN_SHIFT),
        (Traffic(mean=MEAN / 2, std=STD / 2, per_tick=20), DriftKind.MEAN_SHIFT),
        (Traffic(std=2 * STD, per_tick=20), DriftKind.VARIANCE_CHANGE),
        (Traffic(latency=2 * 0.0456, per_tick=20), DriftKind.LATENCY_ANOMALY),
    ],
)
@pytest.mark.parametrize("seed", [71, 72, 73])
def test_a_gross_change_shows_within_a_few_hundred_predictions_of_four_numbers(
    what: Traffic, kind: DriftKind, seed: int
) -> None:
    reference = Reference.of(four_numbers(), materiality=0.01)

    evidence = judged(reference, traffic(60, what, seed=seed))

    tick, named = first(evidence)
    assert (tick + 1) * 20 <= 1000
    assert named is kind


def test_nothing_is_decided_under_a_hundred_predictions() -> None:
    reference = Reference.of(four_numbers(), materiality=0.01)
    monstrous = traffic(8, Traffic(mean=8 * MEAN, latency=1.0, per_tick=20), seed=74)

    evidence = judged(reference, monstrous)

    assert evidence.log_evidence[1].min() > LOG_THRESHOLD
    assert {alarm.tick for alarm in evidence.alarms} == {4}


def test_a_normal_day_is_silent_against_four_numbers() -> None:
    reference = Reference.of(four_numbers(), materiality=0.01)

    assert not judged(reference, traffic(5760, seed=81, wander=0.01)).alarms


def exact_traffic(ticks: int, factor: float, start: float = MIDNIGHT) -> Ticks:
    """2.6 million predictions a tick, without sampling noise: one drawn sample, scaled."""
    sample = traffic(1, replace(NORMAL, per_tick=400_000), seed=5)
    scores = np.random.default_rng(6).standard_normal(400_000)
    square = math.log1p((STD / MEAN) ** 2)
    scores = factor * MEAN * np.exp(math.sqrt(square) * scores - square / 2)
    buckets = np.bincount(
        np.searchsorted(PREDICTION_BOUNDS, scores), minlength=len(PREDICTION_BOUNDS) + 1
    )
    many, one = 6.5, np.ones((ticks, 1))
    return Ticks(
        time=start + TICK_SECONDS * np.arange(1.0, ticks + 1),
        predictions=Aggregates(
            total=np.full(ticks, many * scores.sum()),
            squares=np.full(ticks, many * (scores**2).sum()),
            buckets=one * (many * buckets),
            bounds=np.asarray(PREDICTION_BOUNDS),
        ),
        latency=replace(
            sample.latency,
            total=np.repeat(sample.latency.total, ticks),
            squares=np.repeat(sample.latency.squares, ticks),
            buckets=np.repeat(sample.latency.buckets, ticks, axis=0),
        ),
    )
