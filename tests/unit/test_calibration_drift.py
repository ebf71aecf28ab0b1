"""The test of calibration: silent while clicks come as predicted, quick once they do not."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration import information, known_change_cusum, until_alarm
from benchmarks.calibration_streams import MINUTES_PER_DAY, Change, Scenario, Stream, stream
from service.monitoring.buckets import PREDICTION_BOUNDS, bucket_counts
from service.monitoring.calibration.bets import Bets
from service.monitoring.calibration.change import change_since, columns
from service.monitoring.calibration.clumping import Clumping
from service.monitoring.calibration.detector import (
    MIN_CLICKS,
    MOST_LOG_FACTOR,
    CalibrationDetector,
)
from service.monitoring.calibration.state import CalibrationState
from service.monitoring.calibration.ticks import CalibrationTicks, Floats, Miscalibration
from service.monitoring.clicks import ClickSums, Cohort
from service.monitoring.drift.budget import CLEAR_TICKS, LOG_CAP, LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.histogram import HistogramCounts

ZONE = 0.1
MONTH = 30 * MINUTES_PER_DAY
WARM = MINUTES_PER_DAY
BUSY = Scenario(ctr=0.17, per_minute=300)


def detector(zone: float = ZONE, key: str = "2") -> CalibrationDetector:
    return CalibrationDetector(zone=zone, key=key)


def simulated(
    scenario: Scenario, minutes: int, change: Change | None = None, seed: int = 1
) -> Stream:
    return stream(np.random.default_rng(seed), scenario, minutes, change)


def evidence(seen: Stream) -> Floats:
    fresh = detector()
    return fresh.advance(fresh.start(), seen.ticks())[1]


def of_predictions(predictions: Floats, clicked: Floats) -> CalibrationTicks:
    """One cohort of single predictions."""
    return CalibrationTicks(
        start=np.array([0.0]),
        end=np.array([60.0]),
        counts=bucket_counts(predictions, np.array(PREDICTION_BOUNDS))[None, :].astype(np.float64),
        promised=np.array([predictions.sum()]),
        squares=np.array([(predictions**2).sum()]),
        clicks=np.array([clicked.sum()]),
        clicked=np.array([predictions @ clicked]),
    )


# --- what is read from cohorts -----------------------------------------------------------------


def test_a_cohort_is_read_as_it_was_counted() -> None:
    predictions = np.array([0.0005, 0.02, 0.02, 0.3, 1.0])
    clicked = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    counts = bucket_counts(predictions, np.array(PREDICTION_BOUNDS))
    cohort = Cohort(
        start=60.0,
        end=120.0,
        predictions=HistogramCounts(
            bounds=np.array([*PREDICTION_BOUNDS, math.inf]),
            cumulative=np.cumsum(counts).astype(np.float64),
            total=1.3405,
            total_of_squares=1.09080025,
        ),
        negative_log_complement=0.0,
        clicks=ClickSums(
            prediction=0.32,
            negative_log=0.0,
            negative_log_complement=0.0,
            by_bucket=bucket_counts(predictions[clicked > 0], np.array(PREDICTION_BOUNDS)).astype(
                np.float64
            ),
        ),
    )
    nothing = replace(
        cohort,
        predictions=HistogramCounts(
            bounds=cohort.predictions.bounds,
            cumulative=np.zeros(len(counts)),
            total=0.0,
            total_of_squares=0.0,
        ),
    )

    ticks = CalibrationTicks.of([cohort, nothing])

    assert (ticks.start.tolist(), ticks.end.tolist()) == ([60.0, 60.0], [120.0, 120.0])
    assert ticks.counts.tolist() == [counts.tolist(), [0.0] * len(counts)]
    assert ticks.promised.tolist() == [1.3405, 0.0]
    assert ticks.clicks.tolist() == [2.0, 2.0]
    assert ticks.clicked.tolist() == [0.32, 0.32]
    assert ticks.middle[0] == pytest.approx(1.09080025 / 1.3405)
    assert len(CalibrationTicks.of([])) == 0


@pytest.mark.parametrize("ctr", [0.001, 0.02, 0.3])
def test_what_is_bounded_by_buckets_is_no_less_than_the_truth(ctr: float) -> None:
    rng = np.random.default_rng(3)
    predictions = rng.beta(2.0, 2.0 / ctr - 2.0, 5000)
    ticks = of_predictions(predictions, np.zeros(5000))
    high = (predictions - float(ticks.middle[0])) / float(ticks.spread[0])

    leverage = float((predictions * np.abs(high)).sum())
    assert leverage <= float(ticks.leverage[0]) <= 1.35 * leverage
    for stake in (-0.9, -0.03, 0.03, 0.9):
        price = float((predictions * (np.expm1(stake * high) - stake * high)).sum())
        assert price <= float(ticks.price_of_tilt(stake)[0])


# --- the bets ----------------------------------------------------------------------------------


def test_a_bet_on_the_level_matches_a_hand_computed_case() -> None:
    predictions = np.full(200, 0.05)
    clicked = np.zeros(200)
    clicked[:14] = 1.0
    bets = Bets.of(ZONE)
    cell = int(np.flatnonzero((bets.form == 0) & (bets.stake == 0.24))[0])
    other = int(np.flatnonzero((bets.form == 0) & (bets.stake == -0.24))[0])

    found = bets.log_factors(of_predictions(predictions, clicked))[0]

    # 200 of 0.05 are 10 clicks, at most 11 and at least 9 within the zone; there were 14.
    assert found[cell] == pytest.approx(0.24 * 14 - 200 * math.log(1 + 0.055 * 0.2712491503))
    assert found[other] == pytest.approx(-0.24 * 14 - 200 * math.log(1 - 0.045 * 0.2133721389))


def log_mean_of_e_values(predictions: Floats, truth: Floats) -> Floats:
    """Exactly, by the product of Bernoulli laws, per cell."""
    bets = Bets.of(ZONE)
    none = of_predictions(predictions, np.zeros(len(predictions)))
    free = bets.log_factors(none)
    high = (predictions - float(none.middle[0])) / float(none.spread[0])
    by_click = np.where(bets.form[:, None] == 0, 1.0, high) * bets.stake[:, None]
    return np.asarray(free[0] + np.log1p(truth * np.expm1(by_click)).sum(axis=1))


@pytest.mark.parametrize("ctr", [0.003, 0.02, 0.17, 0.5])
def test_no_bet_gains_on_average_wherever_in_the_zone_the_truth_is(ctr: float) -> None:
    rng = np.random.default_rng(4)
    predictions = rng.beta(2.0, 2.0 / ctr - 2.0, 300)
    middle = float((predictions**2).sum() / predictions.sum())
    high = predictions > middle
    for ratio in (
        np.full(300, 0.9),
        np.full(300, 1.0),
        np.full(300, 1.1),
        np.where(high, 0.9, 1.1),
        np.where(high, 1.1, 0.9),
        rng.uniform(0.9, 1.1, 300),
    ):
        truth = np.minimum(ratio * predictions, 1.0)
        assert (log_mean_of_e_values(predictions, truth) <= 1e-9).all()


@pytest.mark.parametrize(("ratio", "kind"), [(0.8, 0), (1.2, 0), (None, 1)])
def test_some_bet_gains_on_average_once_the_truth_has_left_the_zone(
    ratio: float | None, kind: int
) -> None:
    predictions = np.random.default_rng(5).beta(2.0, 98.0, 3000)
    if ratio is None:
        middle = float((predictions**2).sum() / predictions.sum())
        truth = predictions * np.where(predictions > middle, 0.7, 1.3)
    else:
        truth = ratio * predictions

    gains = log_mean_of_e_values(predictions, truth)

    assert gains[Bets.of(ZONE).form == kind].max() > 0


def test_the_weights_are_a_mixture() -> None:
    bets = Bets.of(ZONE)

    assert bets.weight.sum() == pytest.approx(1.0)
    for kind, side in itertools.product((0, 1), (-1.0, 1.0)):
        share = bets.weight[(bets.form == kind) & (np.sign(bets.stake) == side)].sum()
        assert share == pytest.approx(0.35 if kind == 0 else 0.15)


# --- clumps ------------------------------------------------------------------------------------


def clump_size(ratio: float, clump: int, minutes: int) -> float:
    rng = np.random.default_rng(6)
    clumping = Clumping()
    promised = 20 * (1 + 0.5 * np.sin(np.arange(minutes) / 230))
    for minute, p in enumerate(promised.tolist()):
        clicks = clump * rng.poisson(ratio * p / clump)
        clumping.add(60.0 * minute, (1000.0 * p, p, float(clicks)))
    return clumping.size


@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("clump", [1, 3])
def test_the_size_of_clumps_is_found_whatever_the_ratio(ratio: float, clump: int) -> None:
    assert clump_size(ratio, clump, 5 * MINUTES_PER_DAY) == pytest.approx(clump, rel=0.15)


def test_a_model_that_promises_next_to_nothing_breaks_nothing() -> None:
    clumping = Clumping()
    for minute in range(200):
        clumping.add(60.0 * minute, (1000.0, 1e-170, 5.0))

    # Every minute has the same clicks: less than chance would have.
    assert clumping.size == 1.0


def test_clumps_that_are_spread_over_minutes_are_found() -> None:
    rng = np.random.default_rng(7)
    clumping = Clumping()
    begun = rng.poisson(20 / 5, 4 * MINUTES_PER_DAY)
    clicks = np.convolve(begun, np.ones(5), "valid")
    for minute, k in enumerate(clicks.tolist()):
        clumping.add(60.0 * minute, (1000.0, 20.0, k))

    assert clumping.size > 3


def test_evidence_is_divided_by_the_size_of_clumps() -> None:
    rng = np.random.default_rng(8)
    seen = simulated(BUSY, 2 * MINUTES_PER_DAY)
    seen.clicks[:] = 4 * rng.binomial(seen.predictions, seen.scores / 4)
    fresh, ticks = detector(), seen.ticks()
    before, _ = fresh.advance(fresh.start(), ticks.part(slice(0, -1)))

    after, _ = fresh.advance(before, ticks.part(slice(-1, None)))

    size = Clumping.of(before.clumping).size
    assert size > 3
    factors = Bets.of(ZONE).log_factors(ticks.part(slice(-1, None)))[0]
    expected = (before.cells + 1) * np.exp(np.minimum(factors / size, MOST_LOG_FACTOR))
    assert after.cells == pytest.approx(expected)


def test_neighbours_across_a_gap_are_not_compared() -> None:
    clumping = Clumping()
    for minute in (0, 1, 5000, 5001, 10_000):
        clumping.add(60.0 * minute, (1000.0, 20.0, 20.0 if minute % 10 else 60.0))
    by_minute = clumping.numbers()[0]

    assert by_minute[-1] == pytest.approx(2.0, abs=0.01)


# --- silence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario",
    [
        BUSY,
        replace(BUSY, ratio=1.1),
        replace(BUSY, ratio=0.9),
        replace(BUSY, wander=0.03, season=0.05),
        Scenario(users=True, ctr=0.17, per_minute=60),
    ],
    ids=["iid", "upper end", "lower end", "wander and season", "users"],
)
def test_a_normal_month_raises_no_alarm(scenario: Scenario) -> None:
    assert evidence(simulated(scenario, MONTH)).max() < LOG_THRESHOLD


def test_without_any_click_nothing_is_said() -> None:
    fresh = detector()
    seen = simulated(BUSY, 3 * MINUTES_PER_DAY)

    state, found = fresh.advance(
        fresh.start(), replace(seen, clicks=np.zeros_like(seen.clicks)).ticks()
    )

    assert state.active is None
    assert found.max() < 0
    assert state.clicks < MIN_CLICKS


def test_clicks_that_stop_coming_are_an_alarm() -> None:
    seen = simulated(BUSY, 600)
    seen.clicks[300:] = 0

    state, _ = detector().advance(detector().start(), seen.ticks())

    assert state.active is not None
    assert state.active.since == pytest.approx(300 * 60, abs=300)


def test_a_storm_of_some_minutes_is_no_alarm() -> None:
    seen = simulated(BUSY, MINUTES_PER_DAY)
    seen.clicks[1000:1010] = np.minimum(4 * seen.clicks[1000:1010] + 2, seen.predictions[1000:1010])

    found = evidence(seen)

    assert found.max() < LOG_THRESHOLD
    assert found[1009] - found[999] <= 11 * MOST_LOG_FACTOR


# --- alarms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.2, 1.5])
def test_a_change_of_the_ratio_is_found_soon_and_named(ratio: float) -> None:
    change = Change(at=WARM, ratio=ratio)
    seen = simulated(BUSY, 2 * WARM, change)
    fresh = detector()

    found = evidence(seen)
    first = int(np.argmax(found >= LOG_THRESHOLD))
    assert first >= WARM
    state, _ = fresh.advance(fresh.start(), seen.ticks().part(slice(0, first + 1)))

    assert state.active is not None
    assert state.active.kind is DriftKind.CALIBRATION_SHIFT
    assert state.active.alarmed_at == 60 * (first + 1)
    late = state.active.since / 60 - WARM
    assert abs(late) <= max(0.3 * (first - WARM), 10)
    form, what = fresh.change(state)
    assert what is not None
    assert form is Miscalibration.LEVEL
    assert what.level == pytest.approx(ratio - 1, abs=0.08)


def test_over_confidence_is_found_where_the_overall_ratio_is_one() -> None:
    seen = simulated(BUSY, 3 * WARM, Change(at=WARM, power=0.4))
    fresh = detector()

    state, found = fresh.advance(fresh.start(), seen.ticks())

    assert found[:WARM].max() < LOG_THRESHOLD <= found[WARM : WARM + 400].max()
    form, what = fresh.change(state)
    assert what is not None
    assert form is Miscalibration.SLOPE
    by_form = fresh.log_evidence_by_form(state)
    assert by_form[Miscalibration.SLOPE] > LOG_THRESHOLD > by_form[Miscalibration.LEVEL]
    assert what.slope < -ZONE
    assert abs(what.level) < 0.05


def test_the_delay_is_near_that_of_the_cusum_that_knows_the_change() -> None:
    change = Change(at=WARM, ratio=0.8)
    runs = [simulated(BUSY, 2 * WARM, change, seed) for seed in range(12)]

    ours = np.mean([until_alarm(seen, change) for seen in runs])
    known = np.mean([known_change_cusum(seen, BUSY, change) for seen in runs])

    print(f"ours {ours:.0f} minutes, CUSUM {known:.0f},", information(BUSY, change))
    assert ours <= 1.9 * known


@pytest.mark.parametrize("kind", list(Miscalibration))
def test_the_start_of_a_change_is_where_the_sums_say(kind: Miscalibration) -> None:
    good, bad = np.array([[60.0, 500.0, 500.0, 0.0, 400.0]]), np.array([[60.0, 500.0, 0, 0, 400.0]])
    if kind is Miscalibration.LEVEL:
        bad[0, 2] = 650.0
    else:
        bad[0, 2:4] = 500.0, -150.0
    sums = np.cumsum(np.concatenate([bad, bad, good, good, good]), axis=0)

    what = change_since(sums, kind, ZONE)

    assert what is not None
    assert what.minutes == 120
    assert what.level == pytest.approx(0.3 if kind is Miscalibration.LEVEL else 0.0)
    assert what.slope == pytest.approx(0.0 if kind is Miscalibration.LEVEL else -0.375)


def test_an_alarm_clears_once_clicks_come_as_predicted_for_long_enough() -> None:
    seen = simulated(BUSY, 3 * WARM, Change(at=200, ratio=1.4))
    good = simulated(BUSY, 3 * WARM, seed=2)
    seen.clicks[2000:] = good.clicks[2000:]
    seen.predictions[2000:] = good.predictions[2000:]
    fresh = detector()

    during, before = fresh.advance(fresh.start(), seen.ticks().part(slice(0, 2000)))
    after, found = fresh.advance(during, seen.ticks())

    assert before.max() == pytest.approx(LOG_CAP)
    assert during.active is not None
    assert after.active is None
    assert len(found) == len(seen.predictions) - 2000
    assert int(np.argmax(found < LOG_THRESHOLD - math.log(100))) < 400 - CLEAR_TICKS


# --- the fold ----------------------------------------------------------------------------------


def test_one_at_a_time_through_json_is_the_same_as_all_at_once() -> None:
    ticks = simulated(BUSY, 700, Change(at=400, ratio=0.6)).ticks()
    fresh = detector()
    whole, found = fresh.advance(fresh.start(), ticks)

    state, parts = fresh.start(), []
    for cut in itertools.chain(range(20), range(20, 700, 97)):
        end = cut + 1 if cut < 20 else min(cut + 97, 700)
        state, some = fresh.advance(state, ticks.part(slice(0, end)))
        state = CalibrationState.from_json(state.to_json())
        parts.append(some)

    assert np.concatenate(parts).tolist() == found.tolist()
    assert state.to_json() == whole.to_json()
    assert state.active is not None
    assert len(state.to_json()) < 12_000


def test_cohorts_that_were_folded_before_are_passed_over() -> None:
    ticks = simulated(BUSY, 300).ticks()
    fresh = detector()
    state, _ = fresh.advance(fresh.start(), ticks)

    again, found = fresh.advance(state, ticks)

    assert again is state
    assert len(found) == 0


@pytest.mark.parametrize("other", [detector(key="3"), detector(zone=0.2)])
def test_another_version_or_zone_starts_afresh(other: CalibrationDetector) -> None:
    ticks = simulated(BUSY, 300, Change(ratio=0.5)).ticks()
    state, _ = detector().advance(detector().start(), ticks)

    fresh, found = other.advance(state, ticks.part(slice(299, 300)))

    assert not other.fits(state)
    assert other.fits(fresh)
    assert len(found) == 1
    assert fresh.active is None
    assert fresh.clicks == ticks.clicks[-1]


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": 0}', '{"format": 1, "key": "a"}', "x"])
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"state|Expecting"):
        CalibrationState.from_json(text)


def test_nothing_has_changed_before_the_first_cohort() -> None:
    assert detector().change(detector().start())[1] is None


def test_minutes_without_a_prediction_leave_everything_but_time_as_it_is() -> None:
    ticks = simulated(BUSY, 500, Change(at=200, ratio=1.5)).ticks()
    fresh = detector()
    state, _ = fresh.advance(fresh.start(), ticks)
    empty = replace(
        ticks,
        start=ticks.start + 30_000,
        end=ticks.end + 30_000,
        counts=ticks.counts * 0,
        promised=ticks.promised * 0,
        squares=ticks.squares * 0,
        clicks=ticks.clicks * 0,
        clicked=ticks.clicked * 0,
    )

    later, found = fresh.advance(state, empty)

    assert later.end == 60_000
    assert later.active == state.active
    assert later.cells.tolist() == state.cells.tolist()
    assert set(found.tolist()) == {state.log_evidence}
    before, after = fresh.change(state)[1], fresh.change(later)[1]
    assert before is not None
    assert after is not None
    assert after.minutes == pytest.approx(before.minutes + 500, rel=0.1)
    assert after.level == pytest.approx(before.level, abs=0.02)


def test_a_gap_counts_in_time_but_not_as_cohorts() -> None:
    ticks = simulated(BUSY, 4).ticks()
    late = replace(ticks, start=ticks.start + 6000, end=ticks.end + 6000)

    assert columns(late, 240.0)[:, 0].tolist() == [97, 1, 1, 1]
    assert columns(ticks, None)[:, 0].tolist() == [1, 1, 1, 1]
