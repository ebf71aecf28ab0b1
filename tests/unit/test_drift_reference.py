"""What is normal: daily course, wander, zones, and a baseline that keeps them."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from drift_traffic import MEAN, MIDNIGHT, STD, Traffic, captured, four_numbers, joined, traffic

from service.monitoring.baseline import Baseline
from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.drift.bank import Bank
from service.monitoring.drift.budget import LOG_THRESHOLD, WINDOW_LOG_THRESHOLD
from service.monitoring.drift.channels import channel_functions
from service.monitoring.drift.course import Standardised
from service.monitoring.drift.detector import DriftDetector
from service.monitoring.drift.kalman import Filtered, wander_filter
from service.monitoring.drift.kind import DriftKind, change_since
from service.monitoring.drift.profile import fit
from service.monitoring.drift.recent import RecentSums
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.rolling import roll
from service.monitoring.drift.wander import Autoregression, measure
from service.monitoring.drift.window_test import WindowSums, shift_z

HOURS = np.arange(24) + 0.5


@pytest.fixture(scope="module")
def wandering() -> Reference:
    return Reference.of(captured(traffic(5760, seed=4, wander=0.01)), materiality=0.01)


def test_the_promise_is_one_percent_in_thirty_days() -> None:
    # P(alarm within t ticks) <= t exp(-threshold): ticks of 15 s, and minutes of clicks.
    sequential = 172_800 * math.exp(-LOG_THRESHOLD)
    calibration = 43_200 * math.exp(-LOG_THRESHOLD)
    # Three tests, each with at most exp(-threshold) at each of 172,800 ticks.
    windows = 3 * 172_800 * math.exp(-WINDOW_LOG_THRESHOLD)

    assert windows == pytest.approx(0.001)
    assert sequential + calibration + windows == pytest.approx(0.01)


def test_a_course_of_noise_is_a_flat_line() -> None:
    values = 5 + 0.1 * np.random.default_rng(1).standard_normal(24)

    profile = fit(values, np.full(24, 0.1))

    assert profile.flat
    assert profile.at(np.array([MIDNIGHT]))[0] == pytest.approx(values.mean())


def test_a_sine_is_fitted_between_the_hours_as_well_as_at_them() -> None:
    # The mean over an hour of a sine is the sine at its middle, damped by sin(x)/x.
    damped = np.sin(math.pi / 24) / (math.pi / 24)
    values = 1 + 0.15 * damped * np.sin(2 * math.pi * HOURS / 24)

    profile = fit(values, np.full(24, 1e-3))

    time = np.asarray(MIDNIGHT + np.linspace(0, 86_400, 1000), dtype=np.float64)
    truth = 1 + 0.15 * np.sin(2 * math.pi * (time % 86_400) / 86_400)
    assert profile.parameters == 3
    assert np.abs(profile.at(time) - truth).max() < 1e-4


def test_steps_that_no_few_harmonics_follow_become_straight_lines() -> None:
    values = np.where(HOURS < 12, 1.0, 2.0)

    profile = fit(values, np.full(24, 1e-3))

    assert profile.parameters == 24
    middles = np.asarray(MIDNIGHT + HOURS * 3600, dtype=np.float64)
    assert profile.at(middles) == pytest.approx(values, abs=1e-9)


def test_hours_without_traffic_are_filled_from_the_others() -> None:
    values = np.full(24, 3.0)
    values[5:9] = np.nan

    assert fit(values, np.full(24, 0.1)).at(np.array([MIDNIGHT + 7 * 3600])) == pytest.approx(3.0)


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


def autoregression(rng: np.random.Generator, ticks: int, *, std: float, decay: float) -> np.ndarray:
    slow: np.ndarray = np.zeros(ticks)
    slow[0] = std * rng.standard_normal()
    for t in range(1, ticks):
        slow[t] = decay * slow[t - 1] + std * math.sqrt(1 - decay**2) * rng.standard_normal()
    return slow


def noise(
    rng: np.random.Generator, ticks: int, *, columns: int = 1, per_tick: int = 300
) -> np.ndarray:
    return rng.normal(0.0, per_tick**-0.5, (ticks, columns))


def wandering_means(rng: np.random.Generator, ticks: int, *, per_tick: int = 300) -> np.ndarray:
    slow = autoregression(rng, ticks, std=0.02, decay=math.exp(-15 / 600))
    return np.asarray(slow[:, None] + noise(rng, ticks, per_tick=per_tick))


def fit_of(time: np.ndarray, means: np.ndarray) -> Autoregression:
    wander = measure(time, np.full(len(time), 300.0), means)
    assert wander is not None
    return wander.fitted()


def test_the_variance_of_a_mean_tends_to_the_long_run_variance() -> None:
    wander = Autoregression(variance=np.array([4.0]), seconds=np.array([600.0]))

    assert wander.variance_of_mean(1.0)[0] == pytest.approx(4.0, rel=1e-3)
    # 2 * variance * seconds / span
    assert wander.variance_of_mean(6e6)[0] == pytest.approx(4.0 * 2 * 600 / 6e6, rel=1e-3)


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


def test_a_stated_spread_of_window_means_takes_the_place_of_the_tenth() -> None:
    four = replace(four_numbers(), window_std_prediction=0.02 * MEAN)

    predictions = Reference.of(four, materiality=0.01).predictions

    assert predictions.zones[0] == pytest.approx(0.06 * MEAN / STD)
    # z of an endless window is the shift over the stated spread: 0.05 / 0.02.
    shift = 0.05 * MEAN / STD
    columns = np.array([[1e12, shift * 1e12, 1e12, 1e24 / 240, *[0.0] * 4]])
    assert shift_z(predictions, WindowSums.of(columns))[0] == pytest.approx(2.5, rel=1e-6)
    assert predictions.commissioning


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


def test_all_weights_together_are_one_as_the_budget_is_shared() -> None:
    reference = Reference.of(captured(traffic(1000, seed=7)), materiality=0.01)

    shares = [q.weights.sum() + q.ripple_weight for q in reference.quantities]
    entering = [bank.weight[bank.source < 0].sum() for bank in map(Bank.of, reference.quantities)]

    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1)
    # What enters the sums at a tick: a cell's weight, once for all of its ages.
    assert sum(entering) + reference.predictions.ripple_weight == pytest.approx(1)


def test_a_daily_course_of_little_traffic_is_a_reference_without_a_ripple() -> None:
    means = MEAN * (1 + 0.3 * np.sin(2 * math.pi * HOURS / 24))
    day = joined(
        *(traffic(240, Traffic(mean=m, per_tick=10), seed=h) for h, m in enumerate(means.tolist()))
    )

    reference = Reference.of(captured(day), materiality=0.01)

    assert not reference.predictions.course.means[0].flat
    assert reference.predictions.ripple is None
