"""What drift of features is made of, against scipy, the calendar and numbers worked out by hand."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from service.monitoring.feature_drift import bets
from service.monitoring.feature_drift.bets import Limits, patient_log_factors, quick_log_factors
from service.monitoring.feature_drift.clock import clock, name_of
from service.monitoring.feature_drift.course import FeatureCourse, UnusableFeatureError
from service.monitoring.feature_drift.dispersion import day_to_day_std, excess_variance
from service.monitoring.feature_drift.distribution import FeatureDistribution
from service.monitoring.feature_drift.live import Dispersion, SharesBeside
from service.monitoring.feature_drift.stability import population_stability_index
from service.monitoring.feature_drift.state import FeatureState

DAY = 86_400
MIDNIGHT = 1_767_571_200
"""Monday 2026-01-05, 00:00 UTC."""
FIRST_HOUR = MIDNIGHT // 3600
Z = 3.0


def distribution(
    mixes: Mapping[int, tuple[int, ...]],
    feature: str = "device",
    values: tuple[str, ...] = ("a", "b"),
) -> FeatureDistribution:
    """Counts by hour since the first midnight."""
    hours = np.array(sorted(mixes)) + FIRST_HOUR
    counts = np.array([mixes[hour] for hour in sorted(mixes)])
    return FeatureDistribution.of(feature, values, hours, counts)


def following(feature: str, period: int, days: int) -> FeatureDistribution:
    """A hundred requests an hour that name the hour or weekday of the clock."""
    names = tuple(map(str, range(period)))
    rows = {}
    for hour in range(24 * days):
        drawn = [0] * period
        drawn[clock(feature, MIDNIGHT + 3600 * hour)] = 100
        rows[hour] = tuple(drawn)
    return distribution(rows, feature, names)


# The index.


def test_the_index_of_two_mixes_is_what_a_hand_computes() -> None:
    # With half a row on both sides: (1/2, 1/2) before, (1/4, 3/4) now, so ln(3) / 4.
    found = population_stability_index(np.array([0.5, 0.5]), np.array([0.5, 2.5]))

    assert found == pytest.approx(math.log(3) / 4)


def test_the_index_of_many_rows_is_the_symmetric_divergence() -> None:
    before, now = np.array([0.6, 0.3, 0.1]), np.array([0.4, 0.4, 0.2])

    found = population_stability_index(before, now * 1e8)

    assert found == pytest.approx(stats.entropy(before, now) + stats.entropy(now, before), rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8))
def test_the_index_of_the_same_mix_is_zero_and_never_less(counts: list[int]) -> None:
    rows = np.array(counts, dtype=float)

    assert population_stability_index(rows / rows.sum(), rows) == pytest.approx(0, abs=1e-12)
    assert population_stability_index(rows[::-1] / rows.sum(), rows) >= 0


# The bets.


@pytest.mark.parametrize("limit", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("rows", [1, 40, 3000])
def test_a_patient_bet_gains_nothing_on_average_where_the_share_is_at_the_limit(
    limit: float, rows: int
) -> None:
    k = np.arange(rows + 1)
    shares = np.stack([k / rows] * 2)
    limits = np.full((2, rows + 1), limit)
    variance = np.full((2, rows + 1), limit * (1 - limit) / rows)

    factors = patient_log_factors(shares, limits, variance)[::2]

    means = np.exp(factors) @ stats.binom.pmf(k, rows, limit)
    assert (means <= 1 + 1e-9).all()
    # One row cannot gain enough to be cut off: then it is exactly fair.
    if rows == 1 and limit == 0.3:
        assert means[:3] == pytest.approx(1)


def test_rows_in_clusters_count_as_clusters_and_as_rows_they_would_gain() -> None:
    limit, rows, cluster = 0.3, 4000, 100
    clusters = rows // cluster
    k = np.arange(clusters + 1)
    shares, limits = np.stack([k / clusters] * 2), np.full((2, clusters + 1), limit)
    chances = stats.binom.pmf(k, clusters, limit)

    honest = np.full_like(limits, limit * (1 - limit) / clusters)
    naive = np.full_like(limits, limit * (1 - limit) / rows)

    smallest = 0
    assert np.exp(patient_log_factors(shares, limits, honest)[smallest]) @ chances <= 1
    assert np.exp(patient_log_factors(shares, limits, naive)[smallest]) @ chances > 1.5


@settings(deadline=None)
@given(st.floats(0.01, 0.97), st.integers(1, 400))
def test_a_quick_bet_is_fair_to_any_law_whose_mean_is_the_limit(limit: float, rows: int) -> None:
    k = np.arange(rows + 1)
    limits = np.full((2, rows + 1), limit)
    factors = quick_log_factors(np.stack([k / rows] * 2), limits)[0]

    assert np.exp(factors) @ stats.binom.pmf(k, rows, limit) == pytest.approx(1)
    # All rows of a tick alike, the most that they can hang together.
    assert np.exp(factors[[0, -1]]) @ np.array([1 - limit, limit]) == pytest.approx(1)


def test_where_there_is_no_room_nothing_is_betted() -> None:
    limits = Limits.of(np.array([0.0]), np.array([1.0]), np.array([False]))

    assert (limits.patient == 1).all()
    assert (limits.quick == 1).all()
    assert (quick_log_factors(np.array([[0.9], [0.1]]), limits.quick) == 0).all()
    variance = np.ones((2, 1))
    assert (patient_log_factors(np.array([[0.9], [0.1]]), limits.patient, variance) == 0).all()


def test_the_shares_of_all_bets_of_a_feature_add_up_to_one() -> None:
    weights = np.exp(bets.log_weights([2, 22]))

    assert weights[:, :2].sum() == pytest.approx(1)
    assert weights[:, 2:].sum() == pytest.approx(1)


# Over-dispersion.


def test_excess_variance_is_that_of_the_shares_behind_the_counts() -> None:
    # Beta(30, 70): standard deviation sqrt(0.3 * 0.7 / 101).
    draws = stats.betabinom.rvs(500, 30, 70, size=4000, random_state=1)
    squares = ((draws / 500 - 0.3) ** 2)[:, None]
    sampling = np.full((4000, 1), 0.3 * 0.7 / 500)

    found = excess_variance(squares, sampling, np.ones((4000, 1)), 1.0)

    assert found[0] == pytest.approx(0.21 / 101, rel=0.08)


def test_independent_rows_have_no_excess_but_what_noise_may_hide() -> None:
    draws = stats.binom.rvs(500, 0.3, size=400, random_state=2)
    squares = ((draws / 500 - 0.3) ** 2)[:, None]
    sampling = np.full((400, 1), 0.3 * 0.7 / 500)

    found = excess_variance(squares, sampling, np.ones((400, 1)), 1.0)

    assert 0 < found[0] < 0.2 * sampling[0, 0]


def test_days_that_differ_are_measured() -> None:
    rng = np.random.default_rng(3)
    hours = np.arange(FIRST_HOUR, FIRST_HOUR + 24 * 30)
    course = 0.4 + 0.2 * np.sin(hours % 24 / 24 * 2 * np.pi)
    drawn = rng.binomial(5000, course + rng.normal(0, 0.03, len(hours)))
    counts = np.stack([drawn, 5000 - drawn], axis=1)

    found = day_to_day_std(hours, counts)

    assert found == pytest.approx([0.03, 0.03], rel=0.1)


def test_one_day_says_nothing_about_days() -> None:
    hours = np.arange(FIRST_HOUR, FIRST_HOUR + 24)

    assert day_to_day_std(hours, np.full((24, 2), 100)) is None


def test_the_live_traffic_s_own_dispersion_is_learned() -> None:
    # Two values whose share in five minutes has a standard deviation of 0.05 beyond sampling.
    rng = np.random.default_rng(4)
    rows, expected = np.full(2, 1000.0), np.array([0.4, 0.6])
    seen = Dispersion.none(2)
    for _ in range(500):
        pair = []
        for _ in range(2):
            drawn = float(rng.binomial(1000, rng.normal(0.4, 0.05)))
            counts = np.array([drawn, 1000 - drawn])
            pair.append(SharesBeside(rows=rows, counts=counts, expected=expected))
        seen = seen.with_pair(*pair)

    variance = seen.variance_of(np.full((2, 2), 0.4), rows, np.zeros(2))

    assert variance[0, 0] >= 0.24 / 1000 + 0.05**2
    assert variance[0, 0] == pytest.approx(0.24 / 1000 + 1.5 * 0.05**2, rel=0.2)


# The course and its zone.


def test_an_hour_has_its_own_shares_and_an_hour_without_rows_those_around_it() -> None:
    mixes = {hour: (9000, 1000) if hour < 12 else (1000, 9000) for hour in range(24) if hour != 5}

    course = FeatureCourse.of("device", distribution(mixes))

    assert course.shares[[3, 20], 0] == pytest.approx([0.9, 0.1], abs=0.01)
    assert course.shares[5, 0] == pytest.approx(0.9, abs=0.01)
    assert course.zones[5, 0] > course.zones[4, 0]
    assert course.shares.sum(axis=1) == pytest.approx(np.ones(24))


def test_a_baseline_of_a_single_hour_says_the_same_of_every_hour() -> None:
    course = FeatureCourse.of("device", distribution({14: (9000, 1000)}))

    assert np.isfinite(course.zones).all()
    assert course.shares[:, 0] == pytest.approx(np.full(24, 0.9), abs=0.01)


def test_between_the_middles_of_hours_shares_follow_a_line() -> None:
    mixes = {hour: (5000 + 100 * hour, 5000 - 100 * hour) for hour in range(24)}
    course = FeatureCourse.of("device", distribution(mixes))

    at = [course.at(MIDNIGHT + 3600 * hour).shares[0] for hour in (10.5, 11.0, 11.5)]

    assert at[1] == pytest.approx((at[0] + at[2]) / 2)
    assert at[0] == pytest.approx(0.6, abs=0.001)


def test_the_zone_holds_two_points_and_three_standard_errors() -> None:
    # A week of equal hours: nothing wanders, so only sampling is left.
    rng = np.random.default_rng(5)
    mixes = {}
    for hour in range(24 * 7):
        drawn = int(rng.binomial(2000, 0.25))
        mixes[hour] = (drawn, 2000 - drawn)

    course = FeatureCourse.of("device", distribution(mixes))

    error = math.sqrt(0.25 * 0.75 / 14_000)
    assert course.zones[12, 0] >= 0.02 + Z * error
    assert course.zones[12, 0] == pytest.approx(0.02 + Z * error, abs=0.01)


def test_shares_that_jump_from_hour_to_hour_have_a_wider_zone() -> None:
    calm = dict.fromkeys(range(24), (5000, 5000))
    restless = {hour: (5500, 4500) if hour % 2 else (4500, 5500) for hour in range(24)}

    narrow, wide = (
        FeatureCourse.of("device", distribution(mixes)).zones[12, 0] for mixes in (calm, restless)
    )

    # Neighbouring hours differ by ten points, and the hours around each by some less on average.
    assert narrow < 0.06
    assert wide > 0.02 + Z * math.sqrt(2) * 0.06


def test_days_that_differ_have_a_wider_zone_though_their_hours_do_not() -> None:
    mixes = {hour: (5500, 4500) if hour // 24 % 2 else (4500, 5500) for hour in range(24 * 14)}

    course = FeatureCourse.of("device", distribution(mixes))

    # Neighbouring days differ by ten points, as with a standard deviation of 0.1 / sqrt(2).
    assert course.zones[12, 0] == pytest.approx(
        0.02 + Z * math.sqrt(1 + 1 / 14) * 0.1 / math.sqrt(2), rel=0.02
    )


def test_new_ads_may_become_a_quarter_more_and_devices_not() -> None:
    mixes = dict.fromkeys(range(24), (9500, 500))
    values = ("(seen)", "(unseen)")

    ad, device = (
        FeatureCourse.of(name, distribution(mixes, name, values)).at(MIDNIGHT + 1800).high[1]
        for name in ("ad", "device")
    )

    assert 0.32 <= ad < 0.36
    assert device < 0.12


def test_too_few_rows_are_refused_with_the_number() -> None:
    with pytest.raises(UnusableFeatureError, match="150 rows of it; 200 are needed"):
        FeatureCourse.of("device", distribution({3: (100, 50)}))


# The clock.


@settings(deadline=None)
@given(st.integers(0, 2_000_000_000))
def test_the_clock_is_that_of_the_calendar(time: int) -> None:
    at = datetime.fromtimestamp(time, UTC)

    assert clock("hour", time) == at.hour
    assert clock("day_of_week", time) == at.weekday()


def test_leads_have_names() -> None:
    assert [name_of(lead, 24) for lead in (0, 1, 12, 13, 23)] == [
        "clock",
        "clock+1",
        "clock+12",
        "clock-11",
        "clock-1",
    ]
    assert [name_of(lead, 7) for lead in (3, 4)] == ["clock+3", "clock-3"]


def test_a_whole_week_tells_that_the_weekday_follows_the_clock() -> None:
    course = FeatureCourse.of("day_of_week", following("day_of_week", 7, days=7))

    noon = course.at(MIDNIGHT + 3 * DAY + 43_200)
    assert noon.shares == pytest.approx([1, 0, 0, 0, 0, 0, 0], abs=0.001)
    assert noon.high[1:] == pytest.approx([0.02] * 6, abs=0.02)


@pytest.mark.parametrize("days", [1, 6])
def test_part_of_a_week_decides_nothing_about_weekdays(days: int) -> None:
    with pytest.raises(UnusableFeatureError, match=f"seen {days} of 7 values"):
        FeatureCourse.of("day_of_week", following("day_of_week", 7, days=days))


def test_clients_in_another_time_zone_are_ahead_all_day() -> None:
    rows = {hour: tuple(100 if v == (hour + 8) % 24 else 0 for v in range(24)) for hour in range(6)}

    course = FeatureCourse.of("hour", distribution(rows, "hour", tuple(map(str, range(24)))))

    # Also at hours that the baseline has not seen.
    assert course.at(MIDNIGHT + 15.5 * 3600).shares[8] == pytest.approx(1, abs=0.001)


def test_near_the_full_hour_either_hour_may_be_named() -> None:
    course = FeatureCourse.of("hour", following("hour", 24, days=2))

    late, ahead = (course.at(MIDNIGHT + 9 * 3600 + seconds).high for seconds in (60, 3540))
    middle = course.at(MIDNIGHT + 9 * 3600 + 1800).high

    assert late[23] == 1.0
    assert ahead[1] == 1.0
    assert middle[23] < 0.1
    assert middle[1] < 0.1


def test_rows_whose_time_nobody_knows_say_nothing_about_the_clock() -> None:
    known = following("hour", 24, days=1)

    with pytest.raises(UnusableFeatureError, match="does not know when"):
        FeatureCourse.of("hour", FeatureDistribution(known.values, known.counts))


def test_values_are_put_in_the_clock_s_order() -> None:
    names = sorted(map(str, range(24)))
    counts = np.array([[100 if value == "9" else 0 for value in names]])

    found = FeatureDistribution.of("hour", tuple(names), np.array([FIRST_HOUR + 9]), counts)

    assert found.values == tuple(map(str, range(24)))
    assert found.counts[9, 9] == 100
    assert found.ahead is not None
    assert found.ahead[9, 0] == 100


# What is stored.


def test_a_distribution_survives_json_and_one_of_an_earlier_release_is_read() -> None:
    found = following("day_of_week", 7, days=9)

    again = FeatureDistribution.from_json(found.to_json())
    old = FeatureDistribution.from_json({"values": ["a"], "counts": [[1]] * 24})

    assert again.to_json() == found.to_json()
    assert again.days == found.days == 9
    assert old.ahead is None
    assert old.day_std is None


@pytest.mark.parametrize("text", ["{}", '{"format": 99}', "[]"])
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="feature state"):
        FeatureState.from_json(text)
