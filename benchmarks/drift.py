"""Drift detection measured: false alarms, delays, kinds, cost; tables in Markdown.

    python -m benchmarks.drift            about three minutes
    python -m benchmarks.drift --long     120 control months per scenario, 200 runs per delay

Streams are simulated (see `drift_streams`). The yardstick is a CUSUM that knows the change, sees
the same buckets, and has the same expected run length to a false alarm. The first table holds our
detector against its targets, the others against the usual tools (see `drift_peers`) on the same
streams: as they come, and with thresholds at the highest value of the same control months.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.drift_peers import rivers
from benchmarks.drift_runs import (
    SCENARIOS,
    START,
    Delays,
    delays,
    known_change_cusum,
    normal_months,
    prepared,
    z_at_one_percent,
)
from benchmarks.drift_streams import IID, SEASON, TICKS_PER_DAY, Effect, stream
from service.monitoring.drift.state import DriftState

_NO_RIVER = """river is not installed, so ADWIN and Page-Hinkley are left out. To install it:
    make bench, or: pip install --require-hashes -r requirements-bench.lock"""
_ALWAYS = 0.1
"""Share of a normal month; of a peer that is longer in alarm, a delay says nothing."""

_EFFECTS = {
    "+5 %": Effect(factor=1.05),
    "+10 %": Effect(factor=1.1),
    "+20 %": Effect(factor=1.2),
    "variance x1.2": Effect(law="var1.2"),
    "shape Beta": Effect(law="beta"),
}


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


def _control_row(name: str, months: int) -> Row:
    normal = normal_months(name, months)
    return Row(
        name=f"control months with a false alarm, {name}",
        must="3 of 120",
        reach="0 of 120",
        measured=f"{normal.alarmed} of {months} (evidence at most {normal.log_evidence:.1f}"
        " of 16.8)",
    )


def beside_peers(name: str, change: str, months: int, runs: int) -> Delays:
    """Delays of a change with the zone of 1 %, of ours and of all peers."""
    return delays(
        SCENARIOS[name],
        _EFFECTS[change],
        runs=runs,
        materiality=0.01,
        peers=normal_months(name, months).peers,
    )


def print_comparison(name: str, months: int, runs: int) -> None:
    """Ours, the known-change CUSUM and the peers over the same streams, as Markdown."""
    normal = normal_months(name, months)
    found = [beside_peers(name, change, months, runs) for change in _EFFECTS]

    def line(*cells: str) -> None:
        print("|", " | ".join(cells), "|")

    print()
    line(name, "pages a month", "time in alarm", *_EFFECTS)
    line(*["---"] * (3 + len(_EFFECTS)))
    line("ours", f"{normal.alarmed / months:.1f}", "", *(one.waited() for one in found))
    if SCENARIOS[name] == IID:
        ideal = (f"{known_change_cusum(effect):.1f}" for effect in _EFFECTS.values())
        line("CUSUM that knows the change", "", "", *ideal)
    for peer in normal.peers:
        share = normal.in_alarm[peer]
        line(
            peer.name,
            f"{normal.pages[peer]:.1f}",
            f"{100 * share:.1f} %",
            *("-" if share > _ALWAYS else one.waited(peer) for one in found),
        )


def _delay_rows(months: int, runs: int) -> list[Row]:
    rows: list[Row] = []
    named: Counter[str] = Counter()

    def note(kind: str, found: Delays) -> None:
        named["right"] += found.kinds[kind]
        named["all"] += found.kinds.total()

    for percent in (5, 10, 20):
        effect = Effect(factor=1 + percent / 100)
        peer = z_at_one_percent(IID)
        found = delays(IID, effect, runs=runs, materiality=0.0, peers=(peer,))
        note("mean_shift", found)
        ratio = found.mean / known_change_cusum(effect)
        rows.append(
            Row(
                name=f"mean +{percent} %, iid, zone 0: delay / known-change CUSUM",
                must="2.0",
                reach="1.25",
                measured=f"{ratio:.2f} ({found.mean:.1f} ticks)",
                peer=f"{found.waited(peer)} ticks",
            )
        )
    targets = [
        ("wander", "+5 %", 220, 130),
        ("wander", "+10 %", 20, 8),
        ("season", "+5 %", 400, 200),
        ("season", "+10 %", 60, 20),
    ]
    for name, change, must, reach in targets:
        found = beside_peers(name, change, months, runs)
        note("mean_shift", found)
        error = float(found.ticks.std() / math.sqrt(len(found.ticks)))
        rows.append(
            Row(
                name=f"mean {change} under {name}, zone 1 % (ticks)",
                must=str(must),
                reach=str(reach),
                measured=f"{found.mean:.1f} +- {error:.1f}",
                peer=found.waited(z_at_one_percent(SCENARIOS[name])),
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
        days * TICKS_PER_DAY,
        start=START,
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
    ticks = stream(rng, SEASON, 4000, start=START)

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
    parser.add_argument("--months", type=int, help="control months of a scenario")
    parser.add_argument("--runs", type=int, help="runs of a change")
    asked = parser.parse_args()
    months = asked.months or (120 if asked.long else 1)
    runs = asked.runs or (200 if asked.long else 30)
    if not rivers():
        print(_NO_RIVER, file=sys.stderr)
    rows = [_control_row(name, months) for name in SCENARIOS]
    rows += _delay_rows(months, runs)
    rows.append(_trivial(30 if asked.long else 5))
    rows += _cost()
    print_rows(rows)
    for name in SCENARIOS:
        print_comparison(name, months, runs)


if __name__ == "__main__":
    main()
