"""Runs over simulated traffic: normal months, changes, and the CUSUM that knows the change."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from statistics import NormalDist

import numpy as np

from benchmarks.drift_peers import (
    AS_THEY_COME,
    HOUR_TICKS,
    TO_CALIBRATE,
    Z_TICKS,
    Known,
    Peer,
    pages,
    rivers,
    z_on_course,
)
from benchmarks.drift_streams import (
    FACTORS,
    IID,
    SEASON,
    TICKS_PER_DAY,
    WANDER,
    Effect,
    Scenario,
    stream,
    table,
)
from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.drift.budget import HORIZON_TICKS
from service.monitoring.drift.detector import DriftDetector
from service.monitoring.drift.from_ticks import baseline_from_ticks
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.ticks import TICK_SECONDS, Floats

SCENARIOS = {"iid": IID, "wander": WANDER, "season": SEASON}

_BASELINE_DAYS = 7
_BEGINNING = 1_700_006_400.0
START = _BEGINNING + _BASELINE_DAYS * TICKS_PER_DAY * TICK_SECONDS
"""End of the baseline, in Unix seconds."""
_CONTROL = 480
_RUN_LENGTH = 100 * HORIZON_TICKS
_RENAMED_WITHIN = 20
_REDRAWN_EVERY = 10


def prepared(
    rng: np.random.Generator, scenario: Scenario, materiality: float
) -> tuple[DriftDetector, Known]:
    """Capture a baseline from a week: a detector of it, and what the peers take of it."""
    week = stream(rng, scenario, _BASELINE_DAYS * TICKS_PER_DAY, start=_BEGINNING)
    baseline = baseline_from_ticks(
        week,
        model_name="model",
        model_version="1",
        created_at=datetime.fromtimestamp(_BEGINNING, tz=UTC),
        created_by="benchmark",
    )
    reference = Reference.of(baseline, materiality=materiality)
    known = Known.of(baseline, reference.predictions.course)
    return DriftDetector(reference, key="1"), known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormalMonths:
    """What was raised while nothing was wrong."""

    count: int
    alarmed: int
    """Months with an alarm of our detector."""
    log_evidence: float
    """Its highest."""
    pages: Mapping[Peer, float]
    """Of the peers, in a month."""
    in_alarm: Mapping[Peer, float]
    """Share of the ticks."""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """As they come, then calibrated on these very months: there they are just silent."""
        return tuple(self.pages)


@cache
def normal_months(name: str, count: int, materiality: float = 0.01) -> NormalMonths:
    """Run everything over normal months, the baseline redrawn for each."""
    scenario = SCENARIOS[name]
    alarmed, log_evidence = 0, -math.inf
    fixed = (*AS_THEY_COME, *rivers(), z_at_one_percent(scenario))
    paged, ticks_in_alarm = Counter[Peer](), Counter[Peer]()
    highest = dict.fromkeys(TO_CALIBRATE, -math.inf)
    for month in range(count):
        rng = np.random.default_rng([month, sum(map(ord, name))])
        detector, known = prepared(rng, scenario, materiality)
        ticks = stream(rng, scenario, HORIZON_TICKS, start=START)
        _, evidence = detector.advance(detector.start(), ticks)
        alarmed += bool(evidence.alarms)
        log_evidence = max(log_evidence, float(evidence.log_evidence.max()))
        for peer in fixed:
            alarm = peer.statistic(known, ticks)[HOUR_TICKS:] > peer.threshold
            paged[peer] += pages(alarm)
            ticks_in_alarm[peer] += int(alarm.sum())
        for peer in TO_CALIBRATE:
            peak = float(peer.statistic(known, ticks)[HOUR_TICKS:].max())
            highest[peer] = max(highest[peer], peak)
    calibrated = [
        replace(peer, name=f"{peer.name} > {peak:.3g}, calibrated", threshold=peak)
        for peer, peak in highest.items()
    ]
    every = (*fixed, *calibrated)
    return NormalMonths(
        count=count,
        alarmed=alarmed,
        log_evidence=log_evidence,
        pages={peer: paged[peer] / count for peer in every},
        in_alarm={peer: ticks_in_alarm[peer] / (count * HORIZON_TICKS) for peer in every},
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delays:
    """Runs of one change."""

    ticks: Floats
    """To the first alarm after the change; the limit where there was none."""
    kinds: Counter[str]
    """As named within 20 ticks of the alarm."""
    peers: Mapping[Peer, Floats]
    """To the first tick that a peer is in alarm, in the same streams."""
    limit: int

    @property
    def mean(self) -> float:
        """Mean delay in ticks."""
        return float(self.ticks.mean())

    def waited(self, peer: Peer | None = None) -> str:
        """Mean delay of a peer or of ours; at least so much where some runs saw no alarm."""
        ticks = self.ticks if peer is None else self.peers[peer]
        if ticks.min() >= self.limit:
            return "never"
        return ("> " if ticks.max() >= self.limit else "") + f"{ticks.mean():.1f}"


@cache
def delays(
    scenario: Scenario,
    effect: Effect,
    *,
    runs: int,
    materiality: float,
    limit: int = 2000,
    peers: tuple[Peer, ...] = (),
) -> Delays:
    """Measure the delay of one change, the baseline redrawn every ten runs."""
    rng = np.random.default_rng([runs, limit, round(effect.factor * 1000), len(effect.law)])
    found: list[float] = []
    kinds: Counter[str] = Counter()
    beside: dict[Peer, list[float]] = {peer: [] for peer in peers}
    for run in range(runs):
        if run % _REDRAWN_EVERY == 0:
            detector, known = prepared(rng, scenario, materiality)
        start = START + int(rng.integers(0, TICKS_PER_DAY)) * TICK_SECONDS
        ticks = stream(rng, scenario, _CONTROL + limit, start=start, effect=effect, after=_CONTROL)
        _, evidence = detector.advance(detector.start(), ticks)
        alarms = [alarm for alarm in evidence.alarms if alarm.tick >= _CONTROL]
        found.append(alarms[0].tick - _CONTROL + 1 if alarms else limit)
        if alarms:
            last = alarms[0].tick + _RENAMED_WITHIN
            kinds[[alarm.kind.value for alarm in alarms if alarm.tick <= last][-1]] += 1
        for peer, waits in beside.items():
            hits = np.flatnonzero(peer.statistic(known, ticks)[_CONTROL:] > peer.threshold)
            waits.append(float(hits[0] + 1) if len(hits) else limit)
    return Delays(
        ticks=np.array(found),
        kinds=kinds,
        peers={peer: np.array(waits) for peer, waits in beside.items()},
        limit=limit,
    )


@cache
def z_at_one_percent(scenario: Scenario) -> Peer:
    """Z that a normal month exceeds with probability 1 %, extrapolated from ten normal days."""
    rng = np.random.default_rng(17)
    _, known = prepared(rng, scenario, 0.0)
    days = stream(rng, scenario, 10 * TICKS_PER_DAY, start=START)
    # Of either sign by symmetry, so that the mean square is the variance.
    spread = math.sqrt(float((z_on_course(known, days)[Z_TICKS:] ** 2).mean()))
    # Overlapping windows count as half a window's number of independent ones.
    looks = HORIZON_TICKS / (Z_TICKS / 2)
    return Peer(
        name="z of 5 minutes on the daily course, 1 % a month",
        statistic=z_on_course,
        threshold=spread * NormalDist().inv_cdf(1 - 0.01 / (2 * looks)),
    )


@cache
def known_change_cusum(effect: Effect, per_tick: int = 300, walks: int = 4000) -> float:
    """Mean delay of the CUSUM that knows the change.

    Its threshold has the expected run length of 100 horizons: ARL ~ exp(h) / (I zeta^2), with the
    information I per tick and zeta = E exp(-overshoot), which is simulated.

    Source: Tartakovsky, Nikiforov, Basseville, "Sequential Analysis" (2014), section 8.2.
    """
    rng = np.random.default_rng(9)
    law = table("base", PREDICTION_BOUNDS).probability[int(np.argmin(np.abs(FACTORS - 1)))]
    place = int(np.argmin(np.abs(FACTORS - effect.factor)))
    other = table(effect.law, PREDICTION_BOUNDS).probability[place]
    both = (law > 0) & (other > 0)
    ratio = np.where(both, np.log(np.where(both, other, 1) / np.where(both, law, 1)), 0)
    information = per_tick * float(other @ ratio)

    def walk(threshold: float, floor: float) -> tuple[Floats, Floats]:
        height, taken, over = np.zeros(walks), np.zeros(walks), np.zeros(walks)
        alive = np.ones(walks, dtype=bool)
        tick = 0
        while alive.any():
            tick += 1
            step = rng.multinomial(per_tick, other, size=walks) @ ratio
            height = np.where(alive, np.maximum(height, floor) + step, height)
            hit = alive & (height >= threshold)
            taken[hit], over[hit] = tick, height[hit] - threshold
            alive &= ~hit
        return taken, over

    zeta = float(np.exp(-walk(12.0, -math.inf)[1]).mean())
    threshold = max(math.log(_RUN_LENGTH * information * zeta**2), 0.0)
    return float(walk(threshold, 0.0)[0].mean())
