"""Drift of features: when it is silent, when it speaks, and what it says."""

import math
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pytest
from scipy import stats

from benchmarks.feature_changes import CHANGES, after, move
from benchmarks.feature_hearing import detector_of
from benchmarks.feature_streams import MONDAY, VALUES, Tick, Traffic, World, baseline
from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.feature_drift.budget import LOG_CAP, LOG_THRESHOLD
from service.monitoring.feature_drift.detector import FeatureDetector
from service.monitoring.feature_drift.report import FeatureDrift, feature_drifts
from service.monitoring.feature_drift.stability import population_stability_index
from service.monitoring.feature_drift.state import FeatureState

TOMORROW = MONDAY + 86_400
HOUR = 240
"""Ticks."""
QUIET = World()
STEADY = World(course=0.1)
BURSTS = World(wander=0.05, day=0.05, campaigns_per_day=12, heavy_users_per_day=40)


@cache
def known(world: World) -> FeatureDetector:
    """A detector that has seen one day of a world."""
    return detector_of(baseline(Traffic(world, 1), start=MONDAY, days=1))


def fold(
    detector: FeatureDetector, ticks: Iterable[Tick], state: FeatureState | None = None
) -> Iterator[FeatureState]:
    """Give the state after each tick."""
    state = state or detector.start()
    for tick in ticks:
        state = detector.advance(state, tick.by_value(), end=tick.end)
        yield state


def ticks_of(traffic: Traffic, hours: float, change: str | None = None) -> list[Tick]:
    """The day's first hours; of a change, all of them changed."""
    altered = None if change is None else after(CHANGES[change][1], TOMORROW)
    return [t for t in traffic.day(TOMORROW, altered) if t.end <= TOMORROW + 3600 * hours]


def first_alarm(detector: FeatureDetector, ticks: Iterable[Tick], feature: str) -> float | None:
    """Minutes until the feature is said to have drifted."""
    place = list(detector.courses).index(feature)
    for state in fold(detector, ticks):
        if state.standing[place] is not None:
            assert state.time is not None
            return (state.time - TOMORROW) / 60
    return None


def said(detector: FeatureDetector, state: FeatureState, feature: str) -> FeatureDrift:
    """The answer for one feature."""
    assert state.time is not None
    found = feature_drifts(detector, {}, state, window_start=state.time - 3600, min_predictions=100)
    return next(one for one in found if one.feature == feature)


def peak(detector: FeatureDetector, ticks: Iterable[Tick]) -> float:
    return max(max(state.log_evidence) for state in fold(detector, ticks))


def test_the_threshold_shares_one_percent_in_thirty_days_among_six_features() -> None:
    ticks = 30 * 24 * 3600 / TICK_SECONDS

    assert 6 * ticks / math.exp(LOG_THRESHOLD) == pytest.approx(0.01)


def test_the_same_traffic_is_no_drift() -> None:
    assert peak(known(QUIET), ticks_of(Traffic(QUIET, 1), 6)) < LOG_THRESHOLD / 2


def test_a_trivial_change_of_millions_of_rows_is_no_drift_though_chi_square_is_certain() -> None:
    crowded = World(rows_per_tick=30_000)
    detector = known(crowded)
    change = after(move("device", "desktop", "mobile", 0.015), TOMORROW)
    ticks = [t for t in Traffic(crowded, 1).day(TOMORROW, change) if t.end <= TOMORROW + 14_400]

    [*_, state] = fold(detector, ticks)

    rows = np.sum([tick.counts["device"] for tick in ticks[-HOUR:]], axis=0)
    middle = ticks[-HOUR // 2].end
    expected = detector.courses["device"].at(middle).shares
    assert stats.chisquare(rows, expected * rows.sum()).pvalue < 1e-30
    assert said(detector, state, "device").drift_detected is False
    assert max(state.log_evidence) < 1


@pytest.mark.parametrize(
    ("change", "minutes"),
    [
        ("device +20 points", 75),
        ("new ads, +60 points", 75),
        ("a placement gone", 75),
        ("hour shifted by one", 15),
    ],
)
def test_a_change_is_found_in_time(change: str, minutes: float) -> None:
    ticks = ticks_of(Traffic(QUIET, 1), 3, change)

    found = first_alarm(known(QUIET), ticks, CHANGES[change][0])

    assert found is not None
    assert found <= minutes


def test_a_gross_change_within_the_day_is_not_taken_for_dispersion() -> None:
    onset = TOMORROW + 3 * 3600
    ticks = Traffic(QUIET, 1).day(TOMORROW, after(CHANGES["new ads, +60 points"][1], onset))

    found = first_alarm(known(QUIET), (t for t in ticks if t.end <= onset + 7200), "ad")

    assert found is not None
    assert 180 < found <= 180 + 90


def test_five_points_are_found_where_shares_hardly_move_of_themselves() -> None:
    found = first_alarm(
        known(STEADY), ticks_of(Traffic(STEADY, 1), 3, "device +5 points"), "device"
    )

    assert found is not None
    assert found <= 120


def test_an_hour_of_the_clock_beside_the_right_one_is_named_in_the_answer() -> None:
    detector = known(QUIET)
    [*_, state] = fold(detector, ticks_of(Traffic(QUIET, 1), 1, "hour shifted by one"))

    found = said(detector, state, "hour")

    assert found.drift_detected
    assert [(v.value, round(v.baseline_share, 6), v.current_share) for v in found.moved] == [
        ("clock", 1.0, 0.0),
        ("clock+1", 0.0, 1.0),
    ]


def test_part_of_a_day_is_held_against_the_same_hours() -> None:
    steep = World(course=1.0)
    detector = known(steep)
    ticks = ticks_of(Traffic(steep, 1), 4)

    [*_, state] = fold(detector, ticks)

    whole_day = detector.courses["placement"].shares.mean(axis=0)
    rows = np.sum([tick.counts["placement"] for tick in ticks[-HOUR:]], axis=0)
    assert population_stability_index(whole_day, rows.astype(float)) > 0.25
    assert (said(detector, state, "placement").psi or 1) < 0.02
    assert max(state.log_evidence) < LOG_THRESHOLD / 2


def test_bursts_of_campaigns_and_heavy_users_are_no_drift() -> None:
    traffic = Traffic(BURSTS, 3)
    detector = detector_of(baseline(traffic, start=MONDAY, days=1))

    assert peak(detector, traffic.day(TOMORROW)) < LOG_THRESHOLD


def test_a_campaign_of_half_an_hour_is_no_drift_however_great() -> None:
    change = CHANGES["a placement gone"][1]

    def burst(shares: dict[str, np.ndarray], time: np.ndarray) -> None:
        late = (time > TOMORROW + 3600) & (time <= TOMORROW + 5400)
        part = {feature: share[late] for feature, share in shares.items()}
        change(part)
        for feature, share in part.items():
            shares[feature][late] = share

    ticks = [t for t in Traffic(QUIET, 1).day(TOMORROW, burst) if t.end <= TOMORROW + 10_800]
    found = peak(known(QUIET), ticks)

    assert LOG_THRESHOLD / 3 < found < LOG_THRESHOLD


def test_new_ads_come_every_day_and_are_no_drift_up_to_a_quarter_of_the_rows() -> None:
    change = after(move("ad", "(seen)", "(unseen)", 0.24), TOMORROW)
    ticks = [t for t in Traffic(QUIET, 1).day(TOMORROW, change) if t.end <= TOMORROW + 14_400]

    assert first_alarm(known(QUIET), ticks, "ad") is None


def test_the_answer_has_the_numbers_of_the_last_hour() -> None:
    detector = known(QUIET)
    ticks = ticks_of(Traffic(QUIET, 1), 3, "new ads, +60 points")
    [*_, state] = fold(detector, ticks)

    found = said(detector, state, "ad")

    # Blocks of five minutes, and the one that has not ended: here the tick that ends the hour.
    rows = np.sum([tick.counts["ad"] for tick in ticks[-HOUR:]], axis=0)
    assert found.unseen_rate == pytest.approx(rows[1] / rows.sum(), rel=1e-12)
    assert found.baseline_unseen_rate == pytest.approx(0.04, abs=0.02)
    assert found.psi == pytest.approx(
        _psi_by_hand(found.baseline_unseen_rate, found.unseen_rate), rel=0.01
    )
    assert found.drift_detected
    assert found.log_evidence == pytest.approx(LOG_CAP, abs=0.01)
    assert found.since is not None
    assert abs(found.since - TOMORROW) <= 900
    assert {value.value for value in found.moved} == {"(seen)", "(unseen)"}


def _psi_by_hand(before: float | None, now: float | None) -> float:
    assert before is not None
    assert now is not None
    return (now - before) * (math.log(now / before) - math.log((1 - now) / (1 - before)))


def test_nothing_is_decided_of_few_predictions() -> None:
    thin = World(rows_per_tick=0.3)
    detector = known(QUIET)
    [*_, state] = fold(detector, ticks_of(Traffic(thin, 1), 0.5, "hour shifted by one"))

    found = said(detector, state, "hour")

    assert found.psi is None
    assert found.drift_detected is False
    assert "100 decide" in (found.reason or "")


def test_an_alarm_clears_a_quarter_of_an_hour_after_the_evidence_has_fallen() -> None:
    detector = known(QUIET)
    [*_, state] = fold(detector, ticks_of(Traffic(QUIET, 1), 1, "hour shifted by one"))
    place = list(detector.courses).index("hour")
    assert state.standing[place] is not None

    later = [t for t in Traffic(QUIET, 2).day(TOMORROW) if 3600 < t.end - TOMORROW <= 7200]
    stood = [s.standing[place] is not None for s in fold(detector, later, state)]

    assert 60 <= stood.index(False) <= 120


def test_a_restart_changes_nothing() -> None:
    detector = known(QUIET)
    ticks = ticks_of(Traffic(QUIET, 1), 1.5, "device +20 points")
    [*_, straight] = fold(detector, ticks)

    state = detector.start()
    for tick in ticks:
        read = FeatureState.from_json(state.to_json())
        state = detector.advance(read, tick.by_value(), end=tick.end)

    assert state.to_json() == straight.to_json()
    assert len(state.to_json()) < 40_000


def test_a_tick_that_came_before_is_passed_over_and_another_baseline_begins_anew() -> None:
    detector = known(QUIET)
    ticks = ticks_of(Traffic(QUIET, 1), 0.2)
    [*_, state] = fold(detector, ticks)

    assert detector.advance(state, ticks[3].by_value(), end=ticks[3].end) is state
    other = FeatureDetector(detector.courses, key="other", window_seconds=3600)
    fresh = other.advance(state, ticks[-1].by_value(), end=ticks[-1].end + 15)
    assert fresh.pending is not None
    assert fresh.pending.ticks == 1


def test_missed_ticks_are_made_up_for_by_a_longer_one_and_a_gap_of_an_hour_is_left_out() -> None:
    detector = known(QUIET)
    ticks = ticks_of(Traffic(QUIET, 1), 2)
    state = detector.advance(detector.start(), ticks[0].by_value(), end=ticks[0].end)

    longer = detector.advance(state, ticks[1].by_value(), end=ticks[3].end)
    assert longer.pending is not None
    assert longer.pending.ticks == 4
    gap = detector.advance(state, ticks[1].by_value(), end=ticks[300].end)
    assert gap.pending is None
    assert gap.time == ticks[300].end


def test_values_of_the_streams_are_those_of_the_service() -> None:
    assert list(VALUES) == ["user", "ad", "device", "placement", "hour", "day_of_week"]
