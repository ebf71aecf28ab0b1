"""The window test: what stands out of an hour at once, by size and beyond chance."""

import math

import numpy as np
import pytest
from drift_judgement import TOMORROW, judged
from drift_traffic import (
    MEAN,
    STD,
    Traffic,
    captured,
    joined,
    traffic,
)
from scipy.special import logsumexp

from service.monitoring.drift.budget import LOG_THRESHOLD, WINDOW_LOG_THRESHOLD
from service.monitoring.drift.part import WINDOW_CHANNEL
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.window_test import (
    WindowSums,
    mean_is_off,
    shift_evidence,
    variance_is_off,
)


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
