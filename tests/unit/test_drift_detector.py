"""The detector: silent on what is normal, quick on what is not, the same after a restart."""

import math
from dataclasses import replace

import numpy as np
import pytest
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
    without_wander,
)
from scipy.special import logsumexp

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.drift.bank import Bank
from service.monitoring.drift.budget import CLEAR_TICKS, LOG_THRESHOLD, WINDOW_LOG_THRESHOLD
from service.monitoring.drift.detector import DriftDetector, Evidence
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.part import WINDOW_CHANNEL, PartTicks, _latched, cleared
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.state import Active, DriftState
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats, Ticks
from service.monitoring.drift.window_test import (
    WindowSums,
    mean_is_off,
    shift_evidence,
    variance_is_off,
)

TOMORROW = MIDNIGHT + 86_400
MUTED_LATENCY = 10.0


@pytest.fixture(scope="module")
def known() -> Reference:
    return Reference.of(captured(traffic(5760, seed=1)), materiality=0.01)


@pytest.fixture(scope="module")
def still(known: Reference) -> Reference:
    return without_wander(known)


@pytest.fixture(scope="module")
def wandering() -> Reference:
    return Reference.of(captured(traffic(5760, seed=2, wander=0.01)), materiality=0.01)


def detector(reference: Reference) -> DriftDetector:
    return DriftDetector(reference, key="1")


def judged(reference: Reference, ticks: Ticks) -> Evidence:
    fresh = detector(reference)
    return fresh.advance(fresh.start(), ticks)[1]


def first(evidence: Evidence) -> tuple[int, DriftKind]:
    return evidence.alarms[0].tick, evidence.alarms[0].kind


# --- the e-values ---------------------------------------------------------------------------


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


# --- silence --------------------------------------------------------------------------------


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


# --- what is wrong, and how soon ------------------------------------------------------------


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


# --- four numbers ---------------------------------------------------------------------------


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


# --- the window test ------------------------------------------------------------------------


def test_observations_are_spread_over_the_ticks_that_hold_them() -> None:
    # An hour of 10 a tick; one tick alone; one long tick of four; all but a few in one of four.
    count = np.array([2400.0, 10.0, 40.0, 1006.0])
    crowding = np.array([240 * 10.0**2, 10.0**2, 40.0**2 / 4, 1000.0**2 + 3 * 2.0**2])
    windows = WindowSums(
        count=count, sums=count, squares=count, crowding=crowding, bets=np.zeros((4, 1))
    )

    assert windows.span_seconds == pytest.approx([3600, 15, 60, 15 * 1006**2 / 1_000_012])


def test_a_window_of_one_tick_may_be_off_by_what_one_tick_wanders_an_hour_may_not() -> None:
    reference = Reference.of(captured(traffic(5760, seed=83, wander=0.15)), materiality=0.01)
    far = 4.6 * math.sqrt(reference.predictions.wander.variance[0]) * STD
    what = Traffic(mean=MEAN + far, per_tick=5000)

    evidence = judged(reference, traffic(240, what, seed=84, start=TOMORROW))

    ticks = [alarm.tick for alarm in evidence.alarms if alarm.channel == WINDOW_CHANNEL]
    assert ticks
    assert min(ticks) > 10


@pytest.mark.parametrize(("count", "off"), [(101, False), (4000, True)])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_shift_over_few_observations_passes_z_and_size_but_not_chance(
    known: Reference, count: int, sign: float, *, off: bool
) -> None:
    windows = one_window(count, shift=sign * 0.4, mean_square=1.16)

    # 0.4 standard deviations of 101 observations: z = 4, of which chance makes one in 30,000.
    assert mean_is_off(known.predictions, windows, z=2.0, least=100).tolist() == [off]


def test_the_evidence_of_a_window_matches_a_hand_computed_case(still: Reference) -> None:
    # N = 4000, mean 0.4, mean square 1.16; both sides and twelve tilts weigh the same.
    zone = float(still.predictions.zones[0])
    values = []
    for tilt in np.geomspace(0.003, 1.0, 12):
        for shift in (0.4, -0.4):
            about = 1.16 - 2 * zone * shift + zone**2
            values.append(4000 * (tilt * (shift - zone) - tilt**2 / 6 * (about + 2 * 1.02)))

    found = shift_evidence(still.predictions, one_window(4000, shift=0.4, mean_square=1.16))

    assert found == pytest.approx(logsumexp(values) - math.log(24))


def test_a_shift_that_is_beyond_chance_but_small_is_no_window_alarm(known: Reference) -> None:
    windows = one_window(10**7, shift=0.19, mean_square=1.0361)

    assert shift_evidence(known.predictions, windows)[0] > 1000
    assert not mean_is_off(known.predictions, windows, z=2.0, least=100).any()


@pytest.mark.parametrize(("count", "off"), [(101, False), (10_000, True)])
def test_a_variance_halved_over_few_observations_passes_its_ratio_but_not_chance(
    known: Reference, count: int, *, off: bool
) -> None:
    windows = one_window(count, shift=0.0, mean_square=0.5)

    assert variance_is_off(known.predictions, windows, ratio=1.5, least=100).tolist() == [off]


def test_a_window_alarm_carries_the_evidence_and_the_threshold_of_its_window(
    known: Reference,
) -> None:
    ticks = joined(
        traffic(10, seed=106, start=TOMORROW),
        traffic(230, Traffic(mean=MEAN * 1.3, std=STD), seed=107),
    )

    alarms = judged(known, ticks).alarms

    window = next(alarm for alarm in alarms if alarm.channel == "window")
    sequential = next(alarm for alarm in alarms if alarm.channel != "window")
    assert window.log_evidence_threshold == WINDOW_LOG_THRESHOLD
    assert sequential.log_evidence_threshold == LOG_THRESHOLD
    assert all(alarm.log_evidence >= alarm.log_evidence_threshold for alarm in (window, sequential))
    # All ticks so far are in the window: the same test over their sums.
    seen = known.predictions.course.standardise(
        ticks.time[: window.tick + 1], ticks.predictions.part(slice(window.tick + 1))
    )
    sums = WindowSums(
        count=seen.count.sum(keepdims=True),
        sums=seen.sums[:, 0].sum(keepdims=True),
        squares=seen.squares.sum(keepdims=True),
        crowding=(seen.count**2).sum(keepdims=True),
        bets=np.zeros((1, 4)),
    )
    assert window.log_evidence == pytest.approx(shift_evidence(known.predictions, sums)[0])


def one_window(count: int, *, shift: float, mean_square: float) -> WindowSums:
    """An hour of it, evenly; no bet on a greater variance has won."""
    return WindowSums(
        count=np.array([float(count)]),
        sums=np.array([count * shift]),
        squares=np.array([count * mean_square]),
        crowding=np.array([count**2 / 240]),
        bets=np.zeros((1, 4)),
    )


# --- the fold -------------------------------------------------------------------------------


def test_tick_by_tick_with_restarts_is_bit_for_bit_the_same_as_all_at_once(
    wandering: Reference,
) -> None:
    changed = traffic(150, Traffic(mean=MEAN * 1.07, latency=0.055), seed=91, wander=0.01)
    ticks = joined(traffic(250, seed=92, start=TOMORROW, wander=0.01), changed)
    whole, at_once = detector(wandering).advance(detector(wandering).start(), ticks)

    state, alarms, evidence = detector(wandering).start(), [], []
    for t in range(len(ticks)):
        state = DriftState.from_json(state.to_json())
        state, one = detector(wandering).advance(state, ticks.part(slice(t, t + 1)))
        evidence.append(one.log_evidence[0])
        alarms += [replace(alarm, tick=t) for alarm in one.alarms]

    # A window is added up from its minutes; its evidence is as exact as that sum.
    assert [replace(a, log_evidence=0.0) for a in alarms] == [
        replace(a, log_evidence=0.0) for a in at_once.alarms
    ]
    assert [a.log_evidence for a in alarms] == pytest.approx(
        [a.log_evidence for a in at_once.alarms], rel=1e-9
    )
    assert alarms
    assert np.array_equal(np.stack(evidence), at_once.log_evidence)
    assert state.to_json() == whole.to_json()
    assert len(state.to_json()) < 64_000


def test_merged_ticks_alarm_no_later_than_a_merged_tick_after_single_ones(still: Reference) -> None:
    ticks = joined(
        traffic(200, seed=101, start=TOMORROW),
        traffic(80, Traffic(mean=MEAN * 1.06, std=STD * 1.06), seed=102),
    )
    single, _ = first(judged(still, ticks))

    merged, kind = first(judged(still, merged_by_four(ticks)))

    assert 0 <= (merged + 1) * 4 - (single + 1) <= 6
    assert kind is DriftKind.MEAN_SHIFT


@pytest.mark.parametrize("missed", [0, 120, 240, 960, 2880])
def test_a_gap_in_a_daily_course_is_no_drift(missed: int) -> None:
    reference = Reference.of(captured(seasonal(MIDNIGHT, days=2, seed=103)), materiality=0.01)
    day = seasonal(TOMORROW, days=1, seed=104)
    assert not reference.predictions.course.means[0].flat

    # The course rises fastest at midnight; a week later the day begins with one long tick.
    before = seasonal(TOMORROW - 86_400, days=1, seed=105).part(slice(-40, None))
    parts = [before, in_one(day.part(slice(missed))), day.part(slice(missed, missed + 100))]
    evidence = judged(reference, Ticks.joined(parts if missed else parts[::2]))

    assert evidence.log_evidence.max() < 10


def test_an_hour_in_one_tick_is_held_against_the_course_at_half_past() -> None:
    reference = Reference.of(captured(seasonal(MIDNIGHT, days=2, seed=103)), materiality=0.01)
    two = seasonal(TOMORROW, days=1, seed=107).part(slice(239, 241))
    half_past = MEAN * (1 + 0.15 * math.sin(2 * math.pi * 1.5 / 24))
    # The first ends at one o'clock; the second, the next one, at two.
    hour = replace(
        two,
        time=np.array([TOMORROW + 3600, TOMORROW + 7200]),
        predictions=replace(two.predictions, total=np.array([0.0, 100 * half_past])),
    )

    state, _ = detector(reference).advance(detector(reference).start(), hour)

    count, deviation = state.quantities[0].window[-1, 1:3]
    assert count == 100
    assert deviation / count == pytest.approx(0, abs=0.01)


def test_half_an_hour_in_one_tick_is_judged_on_a_daily_course_too() -> None:
    reference = Reference.of(captured(seasonal(MIDNIGHT, days=2, seed=103)), materiality=0.01)
    day = seasonal(TOMORROW, days=1, seed=106)
    higher = replace(day.predictions, total=1.1 * day.predictions.total)
    shifted = replace(day, predictions=higher)

    evidence = judged(
        reference, Ticks.joined([day.part(slice(1)), in_one(shifted.part(slice(1, 121)))])
    )

    assert first(evidence) == (1, DriftKind.MEAN_SHIFT)
    assert DriftKind.LATENCY_ANOMALY not in {alarm.kind for alarm in evidence.alarms}


def test_ticks_that_were_folded_before_change_nothing(known: Reference) -> None:
    ticks = traffic(50, seed=111, start=TOMORROW)
    state, _ = detector(known).advance(detector(known).start(), ticks)

    again, evidence = detector(known).advance(state, ticks)

    assert again.to_json() == state.to_json()
    assert len(evidence.log_evidence) == 0


def test_another_version_or_baseline_begins_anew(known: Reference) -> None:
    drifted = traffic(30, Traffic(mean=MEAN * 1.3), seed=121, start=TOMORROW)
    state, _ = detector(known).advance(detector(known).start(), drifted)
    normal = traffic(1, seed=122, start=TOMORROW + 3600)

    after, evidence = DriftDetector(known, key="2").advance(state, normal)

    assert state.quantities[0].active is not None
    assert after.quantities[0].active is None
    assert evidence.log_evidence[0, 0] < 3


def test_a_state_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        DriftState.from_json('{"format": 0}')
    with pytest.raises(ValueError, match="not a drift state"):
        DriftState.from_json('{"format": 2}')


# --- the latch ------------------------------------------------------------------------------


def test_an_alarm_stands_until_the_evidence_has_been_low_for_a_quarter_of_an_hour(
    known: Reference,
) -> None:
    ticks = joined(
        traffic(20, Traffic(mean=MEAN * 1.2, std=STD * 1.2), seed=131, start=TOMORROW),
        traffic(400, seed=132),
    )
    fold, state = detector(known), detector(known).start()
    active = []
    for t in range(len(ticks)):
        state, _ = fold.advance(state, ticks.part(slice(t, t + 1)))
        active.append(state.quantities[0].active is not None)

    began, ended = active.index(True), len(active) - active[::-1].index(True)
    assert began < 5
    assert all(active[began:ended])
    assert 20 + CLEAR_TICKS - 1 <= ended < 400
    assert not any(active[ended:])


def test_an_alarm_clears_at_the_sixtieth_tick_in_a_row_below_a_hundredth(known: Reference) -> None:
    ticks = joined(
        traffic(20, Traffic(mean=MEAN * 1.2, std=STD * 1.2), seed=131, start=TOMORROW),
        traffic(400, seed=132),
    )
    fold, state = detector(known), detector(known).start()
    active, evidence = [], []
    for t in range(len(ticks)):
        state, one = fold.advance(state, ticks.part(slice(t, t + 1)))
        active.append(state.quantities[0].active is not None)
        evidence.append(one.log_evidence[0, 0])

    low = np.array(evidence) < math.log(172_800 / 0.0072 / 100)
    began = active.index(True)
    cleared = next(t for t in range(began + 60, len(low)) if low[t - 59 : t + 1].all())
    assert active == [began <= t < cleared for t in range(len(low))]


def test_one_tick_of_more_than_a_hundredth_begins_the_sixty_anew() -> None:
    low, more = math.log(172_800 / 0.0072 / 101), math.log(172_800 / 0.0072 / 99)
    active: Active | None = Active(
        kind=DriftKind.MEAN_SHIFT, alarmed_at=TOMORROW, since=TOMORROW, ticks=0, quiet=0
    )

    for evidence in [low] * 59 + [more] + [low] * 59:
        active = cleared(active, evidence)
        assert active is not None

    assert cleared(active, low) is None


def test_evidence_is_held_three_above_the_threshold(known: Reference) -> None:
    drifted = traffic(60, Traffic(mean=MEAN * 1.5, std=STD * 1.5), seed=133, start=TOMORROW)

    state, evidence = detector(known).advance(detector(known).start(), drifted)

    cap = math.log(172_800 / 0.0072) + 3
    assert evidence.log_evidence[10:, 0] == pytest.approx(cap)
    # One number everywhere: what the gauges show by channel adds up to it.
    channels = ("mean", "location", "spread", "skew", "buckets")
    by_channel = detector(known).log_evidence_by_channel(state)
    assert math.log(sum(math.exp(by_channel[name]) for name in channels)) == pytest.approx(cap)


@pytest.mark.parametrize(
    ("off", "quiet", "raised", "after"),
    [
        ([0, 1, 2], None, [0], 7),
        ([5], 4, [], 4),
        # 60 quiet ticks clear it: those before count.
        ([0], 59, [], 9),
        ([1], 59, [1], 8),
        ([], 49, [], 59),
        ([], 50, [], None),
    ],
)
def test_a_window_test_is_raised_again_only_after_sixty_quiet_ticks(
    off: list[int], quiet: int | None, raised: list[int], after: int | None
) -> None:
    verdicts = np.isin(np.arange(10), off)

    assert _latched(verdicts, quiet) == (raised, after)


def test_an_alarm_that_stands_is_raised_once(known: Reference) -> None:
    ticks = traffic(300, Traffic(mean=MEAN * 1.1, std=STD * 1.1), seed=141, start=TOMORROW)

    evidence = judged(known, ticks)

    assert [alarm.kind for alarm in evidence.alarms if not alarm.renamed] == [DriftKind.MEAN_SHIFT]
    assert evidence.alarms[0].log_evidence >= LOG_THRESHOLD


# --- helpers of this file -------------------------------------------------------------------


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


def seasonal(start: float, *, days: int, seed: int) -> Ticks:
    """A mean that follows a sine of 15 % over the day, a new level every five minutes."""
    starts = start + 300.0 * np.arange(288 * days)
    means = MEAN * (1 + 0.15 * np.sin(2 * math.pi * (starts + 150) / 86_400))
    return Ticks.joined(
        [
            traffic(20, Traffic(mean=mean, per_tick=100), seed=seed * 1000 + number, start=begin)
            for number, (begin, mean) in enumerate(
                zip(starts.tolist(), means.tolist(), strict=True)
            )
        ]
    )


def in_one(ticks: Ticks) -> Ticks:
    """All of them as the one long tick that follows missed ones."""

    def added(quantity: Aggregates) -> Aggregates:
        return replace(
            quantity,
            total=quantity.total.sum(keepdims=True),
            squares=quantity.squares.sum(keepdims=True),
            buckets=quantity.buckets.sum(axis=0, keepdims=True),
        )

    return Ticks(
        time=ticks.time[-1:], predictions=added(ticks.predictions), latency=added(ticks.latency)
    )


def nothing_of(quantity: Aggregates) -> Aggregates:
    return replace(
        quantity,
        buckets=quantity.buckets * 0,
        total=quantity.total * 0,
        squares=quantity.squares * 0,
    )


def merged_by_four(ticks: Ticks) -> Ticks:
    def merged(quantity: Aggregates) -> Aggregates:
        return Aggregates(
            total=quantity.total.reshape(-1, 4).sum(axis=1),
            squares=quantity.squares.reshape(-1, 4).sum(axis=1),
            buckets=quantity.buckets.reshape(-1, 4, quantity.buckets.shape[1]).sum(axis=1),
            bounds=quantity.bounds,
        )

    return Ticks(
        time=ticks.time[3::4],
        predictions=merged(ticks.predictions),
        latency=merged(ticks.latency),
    )


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
