"""Drift detection measured: false alarms, delays, kinds, cost; a table beside the targets.

    python -m benchmarks.drift            about two minutes
    python -m benchmarks.drift --long     120 control months per scenario, 200 runs per delay

Streams are simulated (see `drift_streams`). The yardstick is a CUSUM that knows the change, sees
the same buckets, and has the same expected run length to a false alarm. The peer is a z-test on the
mean of 5 minutes against the daily course, its threshold set to the same rate of false alarms.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from statistics import NormalDist

import numpy as np

from benchmarks.drift_streams import (
    FACTORS,
    IID,
    SEASON,
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
from service.monitoring.drift.state import DriftState
from service.monitoring.drift.ticks import TICK_SECONDS, Floats, Ticks

_BASELINE_DAYS = 7
_TICKS_PER_DAY = 5760
_START = 1_700_006_400.0
_CONTROL = 480
_RUN_LENGTH = 100 * HORIZON_TICKS
_RENAMED_WITHIN = 20
_Z_TICKS = 20
_REDRAWN_EVERY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Runs of one change."""

    ticks: Floats
    """To the first alarm after the change; the limit where there was none."""
    kinds: Counter[str]
    """As named within 20 ticks of the alarm."""
    peer: Floats
    """Of the z-test, from the same streams."""

    @property
    def mean(self) -> float:
        """Mean delay in ticks."""
        return float(self.ticks.mean())


def prepared(
    rng: np.random.Generator, scenario: Scenario, materiality: float
) -> tuple[DriftDetector, Reference]:
    """Capture a baseline from a week of traffic and make a detector of it."""
    week = stream(rng, scenario, _BASELINE_DAYS * _TICKS_PER_DAY, start=_START)
    baseline = baseline_from_ticks(
        week,
        model_name="model",
        model_version="1",
        created_at=datetime.fromtimestamp(_START, tz=UTC),
        created_by="benchmark",
    )
    reference = Reference.of(baseline, materiality=materiality)
    return DriftDetector(reference, key="1"), reference


def delays(
    scenario: Scenario, effect: Effect, *, runs: int, materiality: float, limit: int = 2000
) -> Delays:
    """Measure the delay of one change, the baseline redrawn every ten runs."""
    rng = np.random.default_rng([runs, limit, round(effect.factor * 1000), len(effect.law)])
    found: list[float] = []
    peer: list[float] = []
    kinds: Counter[str] = Counter()
    bar = peer_threshold(scenario)
    for run in range(runs):
        if run % _REDRAWN_EVERY == 0:
            detector, reference = prepared(rng, scenario, materiality)
        start = _START + (
            _BASELINE_DAYS * _TICKS_PER_DAY + int(rng.integers(0, _TICKS_PER_DAY))
        ) * (TICK_SECONDS)
        ticks = stream(rng, scenario, _CONTROL + limit, start=start, effect=effect, after=_CONTROL)
        _, evidence = detector.advance(detector.start(), ticks)
        alarms = [alarm for alarm in evidence.alarms if alarm.tick >= _CONTROL]
        found.append(alarms[0].tick - _CONTROL + 1 if alarms else limit)
        if alarms:
            last = alarms[0].tick + _RENAMED_WITHIN
            kinds[[alarm.kind.value for alarm in alarms if alarm.tick <= last][-1]] += 1
        z = np.abs(plain_z(reference, ticks))[_CONTROL:]
        hits = np.flatnonzero(z >= bar)
        peer.append(float(hits[0] + 1) if len(hits) else limit)
    return Delays(ticks=np.array(found), kinds=kinds, peer=np.array(peer))


def plain_z(reference: Reference, ticks: Ticks) -> Floats:
    """Z of the mean over the last 5 minutes against the daily course."""
    seen = reference.predictions.course.standardise(ticks.time, ticks.predictions)
    total = np.convolve(seen.sums[:, 0], np.ones(_Z_TICKS))[: len(ticks)]
    count = np.convolve(seen.count, np.ones(_Z_TICKS))[: len(ticks)]
    return np.asarray(total / np.sqrt(np.maximum(count, 1)))


@cache
def peer_threshold(scenario: Scenario) -> float:
    """Z that a normal month exceeds with probability 1 %, extrapolated from ten normal days."""
    rng = np.random.default_rng(17)
    _, reference = prepared(rng, scenario, 0.0)
    days = stream(rng, scenario, 10 * _TICKS_PER_DAY, start=_START + _BASELINE_DAYS * 86_400)
    spread = float(plain_z(reference, days)[_Z_TICKS:].std())
    # Overlapping windows count as half a window's number of independent ones.
    looks = HORIZON_TICKS / (_Z_TICKS / 2)
    return spread * NormalDist().inv_cdf(1 - 0.01 / (2 * looks))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    must: str
    reach: str
    measured: str
    peer: str = ""


def print_rows(rows: Sequence[Row]) -> None:
    """As Markdown."""
    print("| | must | reach for | measured | 5-minute z, same false-alarm rate |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.name} | {row.must} | {row.reach} | {row.measured} | {row.peer} |")


def control(name: str, scenario: Scenario, months: int, materiality: float = 0.01) -> Row:
    """Count normal months with an alarm, the baseline redrawn each month."""
    alarmed, peaks = 0, []
    for month in range(months):
        rng = np.random.default_rng([month, sum(map(ord, name))])
        detector, _ = prepared(rng, scenario, materiality)
        ticks = stream(rng, scenario, HORIZON_TICKS, start=_START + _BASELINE_DAYS * 86_400)
        _, evidence = detector.advance(detector.start(), ticks)
        alarmed += bool(evidence.alarms)
        peaks.append(float(evidence.log_evidence.max()))
    return Row(
        name=f"control months with a false alarm, {name}",
        must="3 of 120",
        reach="0 of 120",
        measured=f"{alarmed} of {months} (evidence at most {max(peaks):.1f} of 16.8)",
    )


def _delay_rows(runs: int) -> list[Row]:
    rows: list[Row] = []
    named: Counter[str] = Counter()

    def note(kind: str, found: Delays) -> None:
        named["right"] += found.kinds[kind]
        named["all"] += found.kinds.total()

    for percent in (5, 10, 20):
        effect = Effect(factor=1 + percent / 100)
        found = delays(IID, effect, runs=runs, materiality=0.0)
        note("mean_shift", found)
        ratio = found.mean / known_change_cusum(effect)
        rows.append(
            Row(
                name=f"mean +{percent} %, iid, zone 0: delay / known-change CUSUM",
                must="2.0",
                reach="1.25",
                measured=f"{ratio:.2f} ({found.mean:.1f} ticks)",
                peer=f"{found.peer.mean():.1f} ticks",
            )
        )
    targets = [
        ("wander", WANDER, 5, 220, 130),
        ("wander", WANDER, 10, 20, 8),
        ("season", SEASON, 5, 400, 200),
        ("season", SEASON, 10, 60, 20),
    ]
    for name, scenario, percent, must, reach in targets:
        found = delays(scenario, Effect(factor=1 + percent / 100), runs=runs, materiality=0.01)
        note("mean_shift", found)
        error = float(found.ticks.std() / math.sqrt(len(found.ticks)))
        rows.append(
            Row(
                name=f"mean +{percent} % under {name}, zone 1 % (ticks)",
                must=str(must),
                reach=str(reach),
                measured=f"{found.mean:.1f} +- {error:.1f}",
                peer=f"{found.peer.mean():.1f}",
            )
        )
    shapes = [
        ("var1.2", "variance x1.2", "variance_change", 3.0, 1.5),
        ("beta", "shape Beta", "shape_change", 4.5, 2.0),
        ("weibull", "shape Weibull", "shape_change", 4.5, 2.0),
        ("ripple", "ripple of 15 % between buckets", "shape_change", 4.5, 2.0),
    ]
    for law, name, kind, must_ratio, reach_ratio in shapes:
        found = delays(IID, Effect(law=law), runs=runs, materiality=0.01)
        note(kind, found)
        ratio = found.mean / known_change_cusum(Effect(law=law))
        rows.append(
            Row(
                name=f"{name}, iid, zone 1 %: delay / known-change CUSUM",
                must=f"{must_ratio}",
                reach=f"{reach_ratio}",
                measured=f"{ratio:.2f} ({found.mean:.1f} ticks)",
            )
        )
    found = delays(
        SEASON, Effect(latency_factor=1.1), runs=max(runs // 2, 10), materiality=0.01, limit=6000
    )
    note("latency_anomaly", found)
    rows.append(
        Row(
            name="latency +10 % under load and season (ticks)",
            must="700",
            reach="250",
            measured=f"{found.mean:.0f}",
        )
    )
    share = 100 * named["right"] / max(named["all"], 1)
    rows.append(Row(name="kind named right", must="80 %", reach="95 %", measured=f"{share:.0f} %"))
    return rows


def _trivial(days: int) -> Row:
    rng = np.random.default_rng(5)
    scenario = replace(IID, per_tick=3000)
    detector, _ = prepared(rng, scenario, 0.01)
    ticks = stream(
        rng,
        scenario,
        days * _TICKS_PER_DAY,
        start=_START + _BASELINE_DAYS * 86_400,
        effect=Effect(factor=1.005),
    )
    _, evidence = detector.advance(detector.start(), ticks)
    millions = float(ticks.predictions.count.sum()) / 1e6
    return Row(
        name=f"mean +0.5 % over {millions:.0f} M predictions",
        must="silent",
        reach="silent",
        measured=f"{len(evidence.alarms)} alarms "
        f"(evidence at most {float(evidence.log_evidence.max()):.1f})",
    )


def _cost() -> list[Row]:
    rng = np.random.default_rng(6)
    detector, _ = prepared(rng, SEASON, 0.01)
    ticks = stream(rng, SEASON, 4000, start=_START + _BASELINE_DAYS * 86_400)

    def seconds(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    def one_by_one() -> DriftState:
        state = detector.start()
        for tick in range(500):
            state, _ = detector.advance(state, ticks.part(slice(tick, tick + 1)))
        return state

    single = seconds(one_by_one) / 500
    block = seconds(lambda: detector.advance(detector.start(), ticks)) / len(ticks)
    size = len(detector.advance(detector.start(), ticks)[0].to_json()) / 1000
    return [
        Row(name="state, JSON", must="64 kB", reach="8 kB", measured=f"{size:.0f} kB"),
        Row(
            name="update per tick and model",
            must="1 ms",
            reach="50 us",
            measured=f"{1e6 * single:.0f} us alone, {1e6 * block:.0f} us in a replay",
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="as many months as the targets name")
    long = parser.parse_args().long
    months, runs = (120, 200) if long else (1, 30)
    rows = [
        control(name, s, months)
        for name, s in (("iid", IID), ("wander", WANDER), ("season", SEASON))
    ]
    rows += _delay_rows(runs)
    rows.append(_trivial(30 if long else 5))
    rows += _cost()
    print_rows(rows)


if __name__ == "__main__":
    main()
