"""The latch: when an alarm stands, clears, and is raised again."""

import math

import numpy as np
import pytest
from drift_judgement import TOMORROW, detector, judged
from drift_traffic import (
    MEAN,
    STD,
    Traffic,
    joined,
    traffic,
)

from service.monitoring.drift.budget import CLEAR_TICKS, LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.part import _latched, cleared
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.state import Active


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
