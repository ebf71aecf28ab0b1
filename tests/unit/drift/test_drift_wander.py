"""Wander: how far and how slowly the mean moves where nothing is wrong."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from drift_traffic import MEAN, STD, autoregression, four_numbers, noise

from service.monitoring.drift.reference import Reference
from service.monitoring.drift.wander import Autoregression, measure
from service.monitoring.drift.window_test import WindowSums, shift_z


def test_an_autoregression_is_recognised_and_noise_leaves_room_for_a_little() -> None:
    rng = np.random.default_rng(2)
    means = noise(rng, 40_000, columns=2)
    means[:, 0] += autoregression(rng, 40_000, std=0.02, decay=0.975)

    fitted = fit_of(15.0 * np.arange(40_000.0), means)

    assert math.sqrt(fitted.variance[0]) == pytest.approx(0.02, rel=0.15)
    assert fitted.seconds[0] == pytest.approx(600, rel=0.3)
    # A lag's autocovariance has the standard error 1 / (300 sqrt(40,000)); some lags are averaged.
    assert 0 < fitted.variance[1] < 4 / (300 * math.sqrt(40_000))


@pytest.mark.parametrize("lost", [0.03, 0.3])
def test_a_wander_is_found_in_the_ticks_that_are_left(lost: float) -> None:
    rng = np.random.default_rng(3)
    time, means = 15.0 * np.arange(40_000.0), wandering_means(rng, 40_000)
    kept = rng.random(40_000) > lost

    whole, left = fit_of(time, means), fit_of(time[kept], means[kept])

    assert left.variance[0] == pytest.approx(whole.variance[0], rel=0.1)
    assert left.seconds[0] == pytest.approx(whole.seconds[0], rel=0.2)


@pytest.mark.parametrize(
    "late",
    [lambda rng, n: rng.exponential(0.3, n), lambda rng, n: 1.0 * (rng.random(n) > 0.6)],
    ids=["overruns", "15 or 16 s"],
)
def test_a_wander_is_found_in_ticks_whose_spacing_drifts(
    late: Callable[[np.random.Generator, int], np.ndarray],
) -> None:
    rng = np.random.default_rng(4)
    time = np.cumsum(15.0 + late(rng, 40_000))
    # The truth at the times of the ticks, step by step.
    decay = np.exp(-np.diff(time) / 600)
    slow = np.zeros(40_000)
    for t, kept in enumerate(decay, start=1):
        slow[t] = kept * slow[t - 1] + 0.02 * math.sqrt(1 - kept**2) * rng.standard_normal()

    fitted = fit_of(time, noise(rng, 40_000) + slow[:, None])

    assert math.sqrt(fitted.variance[0]) == pytest.approx(0.02, rel=0.15)
    assert fitted.seconds[0] == pytest.approx(600, rel=0.3)


def test_what_a_small_reference_cannot_tell_from_noise_is_allowed_for() -> None:
    rng = np.random.default_rng(5)
    low = [
        fit_of(15.0 * np.arange(40_000.0), wandering_means(rng, 40_000, per_tick=10))
        for _ in range(10)
    ]

    # The variance of a wander's mean over an hour, true: 2 s^2 T / W for a long W, about.
    truth = Autoregression(variance=np.array([0.02**2]), seconds=np.array([600.0]))
    hour = truth.variance_of_mean(3600)[0]
    assert min(fitted.variance_of_mean(3600)[0] for fitted in low) >= 0.9 * hour


def test_two_hours_of_a_wander_are_seldom_taken_for_less_than_it_is() -> None:
    rng = np.random.default_rng(6)
    truth = Autoregression(variance=np.array([0.02**2]), seconds=np.array([600.0]))
    spans = np.array([150.0, 600.0, 3600.0])

    # The mean of so few ticks is the wander's as much as the course's.
    parts = [wandering_means(rng, 480) for _ in range(60)]
    fits = [fit_of(15.0 * np.arange(480.0), part - part.mean()) for part in parts]

    covered = [
        [fitted.variance_of_mean(s)[0] >= truth.variance_of_mean(s)[0] for s in spans]
        for fitted in fits
    ]
    assert (np.mean(covered, axis=0) >= 0.8).all()


def test_a_wander_that_is_greater_at_some_hours_counts_as_it_is_then() -> None:
    rng = np.random.default_rng(8)
    time = 15.0 * np.arange(40_320.0)
    slow = autoregression(rng, 40_320, std=0.02, decay=math.exp(-15 / 600))
    afternoon = (time % 86_400 >= 43_200) & (time % 86_400 < 64_800)
    chance = noise(rng, 40_320)[:, 0]

    fitted = fit_of(time, (slow * np.where(afternoon, 3.0, 1.0) + chance)[:, None])

    assert math.sqrt(fitted.variance[0]) == pytest.approx(3 * 0.02, rel=0.15)


def test_chance_differences_between_the_parts_of_a_day_count_for_next_to_nothing() -> None:
    rng = np.random.default_rng(9)
    time, count = 15.0 * np.arange(40_320.0), np.full(40_320, 300.0)
    raised = []
    for _ in range(10):
        wander = measure(time, count, wandering_means(rng, 40_320))
        assert wander is not None
        assert wander.by_part is not None
        whole = replace(wander, by_part=None).fitted()
        raised.append(wander.fitted().variance[0] / whole.variance[0])

    assert np.median(raised) == 1
    assert np.mean(raised) < 1.02


def test_few_ticks_or_ticks_with_nothing_in_them_tell_no_wander() -> None:
    rng = np.random.default_rng(7)
    time, means = 15.0 * np.arange(1000.0), wandering_means(rng, 1000)

    assert measure(time[:150], np.full(150, 300.0), means[:150]) is None
    assert measure(time, np.where(np.arange(1000) < 150, 300.0, 0.0), means) is None


def test_the_spectrum_of_a_fit_lies_above_those_of_a_time_constant_in_doubt() -> None:
    variance, seconds, doubt = 1.0, 600.0, 0.5
    raised, omega = variance * math.exp(doubt), np.geomspace(1e-6, 1, 200)

    def spectrum(variance: float, seconds: float) -> np.ndarray:
        return 2 * variance * seconds / (1 + (omega * seconds) ** 2)

    for other in (math.exp(-doubt), 1.0, math.exp(doubt)):
        assert (spectrum(raised, seconds) >= spectrum(variance, seconds * other)).all()


def test_the_variance_of_a_mean_tends_to_the_long_run_variance() -> None:
    wander = Autoregression(variance=np.array([4.0]), seconds=np.array([600.0]))

    assert wander.variance_of_mean(1.0)[0] == pytest.approx(4.0, rel=1e-3)
    # 2 * variance * seconds / span
    assert wander.variance_of_mean(6e6)[0] == pytest.approx(4.0 * 2 * 600 / 6e6, rel=1e-3)


def test_a_stated_spread_of_window_means_takes_the_place_of_the_tenth() -> None:
    four = replace(four_numbers(), window_std_prediction=0.02 * MEAN)

    predictions = Reference.of(four, materiality=0.01).predictions

    assert predictions.zones[0] == pytest.approx(0.06 * MEAN / STD)
    # z of an endless window is the shift over the stated spread: 0.05 / 0.02.
    shift = 0.05 * MEAN / STD
    columns = np.array([[1e12, shift * 1e12, 1e12, 1e24 / 240, *[0.0] * 4]])
    assert shift_z(predictions, WindowSums.of(columns))[0] == pytest.approx(2.5, rel=1e-6)
    assert predictions.commissioning


def wandering_means(rng: np.random.Generator, ticks: int, *, per_tick: int = 300) -> np.ndarray:
    slow = autoregression(rng, ticks, std=0.02, decay=math.exp(-15 / 600))
    return np.asarray(slow[:, None] + noise(rng, ticks, per_tick=per_tick))


def fit_of(time: np.ndarray, means: np.ndarray) -> Autoregression:
    wander = measure(time, np.full(len(time), 300.0), means)
    assert wander is not None
    return wander.fitted()
