"""Drift of features measured: false alarms and delays, beside PSI and chi-square; Markdown.

    python -m benchmarks.feature_drift                      simulated traffic, ten minutes
    python -m benchmarks.feature_drift --days 360 --runs 50
    python -m benchmarks.feature_drift --logs FOLDER        real logs instead

A page is an alarm of any feature, those less than an hour apart being one. The peers see the last
hour every five minutes and compare it with the same hours of the baseline, as ours does.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.feature_changes import CHANGES, PEERS, after
from benchmarks.feature_hearing import OURS, Heard, Rows, detector_of, listen
from benchmarks.feature_logs import print_logs
from benchmarks.feature_streams import MONDAY, Tick, Traffic, World, baseline
from service.monitoring.feature_drift.budget import LOG_THRESHOLD
from service.monitoring.feature_drift.detector import FeatureDetector

_MOSTLY = 0.1
"""Share of the normal months; of a tool that is longer in alarm, a delay says nothing."""
_DAY = 86_400.0
_MONTH_DAYS = 30
_PATIENCE = 8 * 3600.0
"""So long a delay is waited for."""
_BURSTS = {"campaigns_per_day": 12.0, "heavy_users_per_day": 40.0}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A world and how much of it the baseline has seen."""

    world: World
    baseline_days: float


SCENARIOS: Mapping[str, Scenario] = {
    "independent rows": Scenario(World(), 7),
    "wander": Scenario(World(wander=0.1, day=0.05), 7),
    "bursts": Scenario(World(wander=0.05, day=0.05, **_BURSTS), 7),
    "bursts, 30 a tick": Scenario(World(rows_per_tick=30, wander=0.05, day=0.05, **_BURSTS), 7),
    "bursts, one day known": Scenario(World(wander=0.05, day=0.05, **_BURSTS), 1),
    "a great campaign a day": Scenario(World(campaigns_per_day=1, campaign_share=0.4), 7),
}


@cache
def prepared(name: str, seed: int) -> tuple[Traffic, FeatureDetector]:
    """A world, and what has seen some days of it."""
    scenario = SCENARIOS[name]
    traffic = Traffic(scenario.world, seed)
    return traffic, detector_of(baseline(traffic, start=MONDAY, days=scenario.baseline_days))


def control(name: str, days: int) -> list[Heard]:
    """Days in which nothing changes; each month with a world and a baseline of its own."""
    found = []
    for month, first in enumerate(range(0, days, _MONTH_DAYS)):
        traffic, detector = prepared(name, 100 + month)
        some = range(min(_MONTH_DAYS, days - first))
        normal = (tick for day in some for tick in traffic.day(MONDAY + _DAY * (14 + day)))
        found.append(listen(detector, _rows(normal)))
    return found


def delays(name: str, change: str, runs: int) -> Mapping[str, list[float]]:
    """Minutes from a change until an alarm of its feature; eight hours where there was none."""
    feature, what = CHANGES[change]
    traffic, detector = prepared(name, 100)
    rng = np.random.default_rng(500)
    found: dict[str, list[float]] = defaultdict(list)
    for run in range(runs):
        start = MONDAY + _DAY * (50 + run)
        onset = start + 15 * float(rng.integers(480, 3800))
        ticks = traffic.day(start, after(what, onset))
        heard = listen(
            detector,
            _rows(tick for tick in ticks if tick.end <= onset + _PATIENCE),
            feature=feature,
            onset=onset,
        )
        for tool in (OURS, *(peer.name for peer in PEERS)):
            at = heard.first.get((tool, feature), onset + _PATIENCE)
            found[tool].append((at - onset) / 60)
    return found


def _rows(ticks: Iterable[Tick]) -> Iterator[Rows]:
    return ((tick.end, tick.by_value()) for tick in ticks)


def _minutes(waited: Sequence[float]) -> str:
    missed = sum(minutes >= _PATIENCE / 60 for minutes in waited)
    if missed == len(waited):
        return "never"
    text = f"{np.median(waited):.0f} min"
    return f"{text}, {missed} of {len(waited)} missed" if missed else text


def print_scenario(name: str, days: int, runs: int) -> None:
    """One table: pages, time in alarm, evidence, and the median delay of each change."""
    normal = control(name, days)
    waited = {change: delays(name, change, runs) for change in CHANGES}
    print(f"\n| {name} | pages in {days} days | time in alarm |", " | ".join(CHANGES), "|")
    print("|" + " --- |" * (3 + len(CHANGES)))
    for tool in (OURS, *(peer.name for peer in PEERS)):
        pages = sum(heard.pages[tool] for heard in normal)
        share = sum(heard.in_alarm[tool] for heard in normal) / sum(h.looks for h in normal)
        useless = share > _MOSTLY
        cells = ["-" if useless else _minutes(waited[change][tool]) for change in CHANGES]
        print(f"| {tool} | {pages} | {100 * share:.1f} % |", " | ".join(cells), "|")
    most = max(heard.evidence for heard in normal)
    print(f"\nEvidence at most {most:.1f} of {LOG_THRESHOLD:.1f}.", flush=True)


def print_cost() -> None:
    """Time of one update and the length of the state."""
    traffic = Traffic(World(), 1)
    detector = detector_of(baseline(traffic, start=MONDAY, days=1))
    state = detector.start()
    ticks = [tick for _, tick in zip(range(2000), traffic.day(MONDAY + _DAY), strict=False)]
    counts = [tick.by_value() for tick in ticks]
    began = time.perf_counter()
    for tick, row in zip(ticks, counts, strict=True):
        state = detector.advance(state, row, end=tick.end)
    spent = (time.perf_counter() - began) / len(ticks)
    print(f"\nUpdate {1e6 * spent:.0f} us, state {len(state.to_json()) / 1000:.0f} kB of JSON.")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", type=int, default=30, help="of control per scenario")
    parser.add_argument("--runs", type=int, default=5, help="runs per delay")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    parser.add_argument("--logs", type=Path, help="folder with real click logs")
    options = parser.parse_args()
    if options.logs:
        print_logs(options.logs)
    for name in options.scenario or ([] if options.logs else SCENARIOS):
        print_scenario(name, options.days, options.runs)
    print_cost()


if __name__ == "__main__":
    main()
