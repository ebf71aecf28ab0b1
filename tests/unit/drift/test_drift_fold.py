"""The fold: the same verdict tick by tick, after restarts and gaps, and of merged ticks."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drift_judgement import TOMORROW, detector, first, judged
from drift_traffic import (
    MEAN,
    MIDNIGHT,
    STD,
    Traffic,
    captured,
    joined,
    traffic,
)

from service.monitoring.drift.detector import DriftDetector
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.state import DriftState
from service.monitoring.drift.ticks import Aggregates, Ticks


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
