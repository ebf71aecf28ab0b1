"""A reference: its zones, what is too little for one, and a baseline that keeps it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drift_traffic import (
    MEAN,
    MIDNIGHT,
    STD,
    Traffic,
    captured,
    four_numbers,
    traffic,
)

from service.monitoring.baseline import Baseline
from service.monitoring.drift.budget import LOG_THRESHOLD, WINDOW_LOG_THRESHOLD
from service.monitoring.drift.detector import DriftDetector
from service.monitoring.drift.kind import DriftKind, change_since
from service.monitoring.drift.recent import RecentSums
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.rolling import roll


def test_the_promise_is_one_percent_in_thirty_days() -> None:
    # P(alarm within t ticks) <= t exp(-threshold): ticks of 15 s, and minutes of clicks.
    sequential = 172_800 * math.exp(-LOG_THRESHOLD)
    calibration = 43_200 * math.exp(-LOG_THRESHOLD)
    # Three tests, each with at most exp(-threshold) at each of 172,800 ticks.
    windows = 3 * 172_800 * math.exp(-WINDOW_LOG_THRESHOLD)

    assert windows == pytest.approx(0.001)
    assert sequential + calibration + windows == pytest.approx(0.01)


def test_four_numbers_widen_the_zone_to_a_tenth_of_the_mean() -> None:
    reference = Reference.of(four_numbers(), materiality=0.01)

    assert reference.predictions.commissioning
    assert reference.predictions.zones[0] * STD >= 0.1 * MEAN
    assert not Reference.of(captured(traffic(1000, seed=5)), materiality=0.01).latency.commissioning  # type: ignore[union-attr]


def test_traffic_too_short_to_tell_its_wander_widens_the_zone_twice_as_far() -> None:
    # The mean of a few minutes is as far from the truth as later traffic may be.
    reference = Reference.of(captured(traffic(40, seed=9)), materiality=0.01)

    predictions, latency = reference.predictions, reference.latency
    assert latency is not None
    assert predictions.commissioning
    assert latency.commissioning
    assert predictions.zones[0] == pytest.approx(2 * 0.10 * MEAN / STD, rel=0.02)
    assert latency.zones[0] == pytest.approx(2 * 0.30 * latency.course.mean / latency.course.std)
    # The logarithm of a lognormal moves by log(1 + x) in units of its own standard deviation.
    spread = math.sqrt(math.log1p((STD / MEAN) ** 2))
    assert predictions.zones[1] == pytest.approx(math.log(1.2) / spread, rel=0.05)


@pytest.mark.parametrize("ticks", [1, 3, 40, 190])
def test_a_reference_of_minutes_is_silent_while_the_mean_wanders(ticks: int) -> None:
    reference = Reference.of(captured(traffic(ticks, seed=10, wander=0.02)), materiality=0.01)
    detector = DriftDetector(reference, key="1")
    day = traffic(5760, seed=11, start=MIDNIGHT + 86_400, wander=0.02)

    assert not detector.advance(detector.start(), day)[1].alarms


def test_scores_that_do_not_vary_are_no_reference() -> None:
    same = traffic(300, Traffic(std=1e-12), seed=12)

    with pytest.raises(ValueError, match="do not vary"):
        captured(same)


def test_a_zone_is_the_materiality_and_three_standard_errors_of_the_baseline() -> None:
    reference = Reference.of(captured(traffic(5760, seed=8)), materiality=0.01)

    # The variance of a day's mean: sampling, and what wander the ticks leave room for.
    slow = reference.predictions.wander.variance_of_mean(86_400)
    error = 3 * np.sqrt(1 / (5760 * 300) + slow)
    location = MEAN / STD
    assert (slow < 3 / (5760 * 300)).all()
    assert reference.predictions.zones == pytest.approx(
        np.array([0.01, 0.01, 0.005, 0.005]) * location + error, rel=0.005
    )
    leak = 0.1 * math.sqrt(reference.predictions.wander.variance[1])
    ripple = reference.predictions.ripple
    assert ripple is not None
    assert ripple.radius == pytest.approx(
        0.005 * location + leak + 1.5 * math.sqrt(ripple.directions / (5760 * 300)), rel=0.005
    )


def test_a_change_is_counted_from_the_edge_of_the_zone_in_errors_that_know_the_wander(
    wandering: Reference,
) -> None:
    predictions = wandering.predictions
    channels = len(predictions.zones)
    shift = float(predictions.zones[0]) + 0.1

    # 40 ticks of 300; the mean off, the further channels not, the variance about it 1.
    totals = np.concatenate([[shift], np.zeros(channels - 1)])
    change = change_since(
        predictions, np.array([[40.0, 12_000.0, 12_000 * (1 + shift**2), *(12_000 * totals)]])
    )

    # The variance of the mean of an autoregression, added up pair by pair in steps of a second.
    place = np.arange(600)
    lags = np.abs(place[:, None] - place)
    wander = predictions.wander.variance[0] * np.exp(-lags / predictions.wander.seconds[0]).mean()
    assert change is not None
    assert change.mean == pytest.approx(shift)
    assert change.variance_ratio == pytest.approx(1)
    assert change.mean_errors == pytest.approx(0.1 / math.sqrt(1 / 12_000 + wander), rel=1e-3)
    assert change.prediction_kind is DriftKind.MEAN_SHIFT


def test_a_baseline_keeps_its_wander_to_the_last_bit() -> None:
    baseline = captured(traffic(6000, Traffic(per_tick=30), seed=6, wander=0.02))

    again = Baseline.from_json(baseline.to_json())

    assert again.prediction_wander is not None
    assert baseline.prediction_wander is not None
    assert np.array_equal(
        again.prediction_wander.autocovariances, baseline.prediction_wander.autocovariances
    )
    assert baseline.prediction_wander.by_part is not None
    assert again.prediction_wander.by_part is not None
    assert np.array_equal(again.prediction_wander.by_part, baseline.prediction_wander.by_part)
    assert again.to_json() == baseline.to_json()


def test_a_baseline_stored_before_wander_was_measured_is_still_read() -> None:
    import json  # noqa: PLC0415

    content = json.loads(captured(traffic(1000, seed=6)).to_json())
    del content["prediction_wander"], content["latency_wander"]

    assert Baseline.from_json(json.dumps(content)).prediction_wander is None


def test_predictions_that_do_not_vary_are_no_reference() -> None:
    with pytest.raises(ValueError, match="do not vary"):
        Reference.of(replace(four_numbers(), std_prediction=0.0), materiality=0.01)


def test_recent_sums_hold_every_tick_once_in_little_memory() -> None:
    recent = RecentSums([])
    for value in range(1, 1001):
        recent.add([float(value)])

    since = recent.since()

    assert since[-1].tolist() == [1000.0, 500_500.0]
    assert since[0].tolist() == [1.0, 1000.0]
    # The sum since any start is exact, and starts lie at most a third apart.
    for ticks, total in since:
        assert total == sum(range(1001 - int(ticks), 1001))
    ages = since[:, 0]
    assert (ages[1:] <= 1.34 * ages[:-1] + 1).all()
    assert sum(len(level) for level in recent.levels) < 60


def test_a_window_rolls_by_the_minute() -> None:
    # One a tick, four ticks a minute, a window of two minutes.
    time = 15.0 * np.arange(1.0, 13)
    rows, sums = roll(np.zeros((0, 0)), time, np.ones((12, 1)), 120.0)

    assert sums[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8]
    assert rows.tolist() == [[1.0, 4.0], [2.0, 4.0]]
