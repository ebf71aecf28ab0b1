"""A/B verdicts measured: false winners, false mismatches, and how long true ones take.

    python -m benchmarks.experiments           some five minutes
    python -m benchmarks.experiments --long    1,000 experiments a world, half an hour

Users are simulated (see `experiment_worlds`). Beside ours stand the usual tests on impressions,
read at every look and once at the end (see `experiment_readers`). Tables in Markdown.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from benchmarks.experiment_readers import (
    Reader,
    chi_square,
    declares,
    declares_lift,
    finds_mismatch,
    two_proportion_z,
)
from benchmarks.experiment_worlds import Course, World, course
from service.monitoring.experiment.report import report

EQUALS = {
    "tail 1.1": World(tail=1.1),
    "tail 1.1, users all there": World(tail=1.1, arriving=False),
    "tail 1.3": World(tail=1.3),
    "tail 1.5": World(tail=1.5),
    "tail 1.5, users tire": World(tail=1.5, tired=True, ctr=0.05),
    "tail 3": World(tail=3.0),
    "tail 3, users tire": World(tail=3.0, tired=True, ctr=0.05),
    "tail 1.1, 90:10": World(tail=1.1, weights=(9.0, 1.0)),
    "tail 1.5, 90:10": World(tail=1.5, weights=(9.0, 1.0)),
    "tail 3, 90:10": World(tail=3.0, weights=(9.0, 1.0)),
    "tail 1.5, 95:5, 300 users": World(tail=1.5, weights=(19.0, 1.0), users=300),
    "tail 1.1, three arms": World(tail=1.1, weights=(1.0, 1.0, 1.0)),
    "tail 1.5, 60:30:10": World(tail=1.5, weights=(6.0, 3.0, 1.0)),
}
"""Worlds in which no arm is better than another and none loses a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """In how many experiments a reader announced something."""

    ever: int
    """At any look."""
    at_the_end: int


def heard(
    readers: Mapping[str, Reader], world: World, *, runs: int, looks: int, seed: int = 1
) -> Mapping[str, Heard]:
    """Let readers look at the same experiments."""
    ever, last = dict.fromkeys(readers, 0), dict.fromkeys(readers, 0)
    for one in _courses(world, runs, looks, seed):
        views = [(arms, report("simulated", arms)) for arms in one]
        for name, reader in readers.items():
            last[name] += reader(*views[-1])
            ever[name] += any(reader(*view) for view in reversed(views))
    return {name: Heard(ever=ever[name], at_the_end=last[name]) for name in readers}


def left_out(world: World, *, runs: int, looks: int, seed: int = 3) -> int:
    """Count the experiments in which the interval ever leaves out the true difference."""
    true = world.ctr * world.lift
    count = 0
    for one in _courses(world, runs, looks, seed):
        intervals = (report("simulated", arms).comparisons[-1].interval for arms in one)
        count += any(not low <= true <= high for low, high in filter(None, intervals))
    return count


def counts_at_first(
    reader: Reader, world: World, *, runs: int, looks: int, clicks: bool, seed: int = 2
) -> Sequence[float]:
    """Clicks or impressions of all arms when a reader first announces; infinite if never."""
    found = []
    for one in _courses(world, runs, looks, seed):
        totals = (one.clicks if clicks else one.impressions).sum(axis=(1, 2))
        hits = (
            total
            for arms, total in zip(one, totals, strict=True)
            if reader(arms, report("simulated", arms))
        )
        found.append(float(next(hits, math.inf)))
    return found


def clicks_of_fixed_horizon(ctr: float, lift: float) -> float:
    """Clicks of two equal arms that a z test read once needs for a power of 80 %."""
    high = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    rates = (ctr, ctr * (1 + lift))
    variance = sum(rate * (1 - rate) for rate in rates)
    return high**2 * variance / (ctr * lift) ** 2 * sum(rates)


def _courses(world: World, runs: int, looks: int, seed: int) -> Iterable[Course]:
    return (course(np.random.default_rng([seed, run]), world, looks) for run in range(runs))


def _line(*cells: str) -> None:
    print("|", " | ".join(cells), "|", flush=True)


def _print_equals(worlds: Iterable[str], runs: int, looks: int) -> None:
    readers = {
        "winner": declares,
        "z": two_proportion_z,
        "mismatch": finds_mismatch,
        "chi-square": chi_square,
    }
    print(f"\nNothing is wrong: {runs} experiments, {looks} looks. Announced, in % of them:\n")
    _line(
        "world", "a winner: ours", "z, any look", "z, at the end",
        "a mismatch: ours", "chi-square, any look", "chi-square, at the end",
    )  # fmt: skip
    _line(*["---"] * 7)
    for name, world in ((name, EQUALS[name]) for name in worlds):
        found = heard(readers, world, runs=runs, looks=looks)

        def percent(count: int) -> str:
            return f"{100 * count / runs:.1f}"

        _line(
            name,
            percent(found["winner"].ever),
            percent(found["z"].ever),
            percent(found["z"].at_the_end),
            percent(found["mismatch"].ever),
            percent(found["chi-square"].ever),
            percent(found["chi-square"].at_the_end),
        )


def _print_left_out(runs: int, looks: int) -> None:
    print(f"\nA lift of 50 %: {runs} experiments, {looks} looks. The interval left it out:\n")
    _line("world", "ever, in % of the experiments")
    _line("---", "---")
    for name in ("tail 1.1", "tail 1.5", "tail 3", "tail 1.5, 90:10", "tail 3, 90:10"):
        count = left_out(replace(EQUALS[name], lift=0.5), runs=runs, looks=looks)
        _line(name, f"{100 * count / runs:.1f}")


def _print_delays(
    title: str, worlds: Mapping[str, World], reader: Reader, *, runs: int, clicks: bool
) -> None:
    print(f"\n{title}\n")
    beside = ("z test, fixed horizon, 80 %",) if clicks else ()
    _line("world", "first tenth", "half", "four fifths", "never", *beside)
    _line(*["---"] * (5 + len(beside)))
    for name, world in worlds.items():
        found = np.sort(counts_at_first(reader, world, runs=runs, looks=400, clicks=clicks))
        places = [math.ceil(share * runs) - 1 for share in (0.1, 0.5, 0.8)]
        cells = [f"{found[i]:,.0f}" if math.isfinite(found[i]) else "-" for i in places]
        cells.append(f"{100 * np.isinf(found).mean():.0f} %")
        if clicks:
            cells.append(f"{clicks_of_fixed_horizon(world.ctr, world.lift):,.0f}")
        _line(name, *cells)


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="what docs/experiments.md shows")
    runs = 1000 if parser.parse_args(arguments).long else 200
    _print_equals(EQUALS, runs, 100)
    _print_equals(("tail 1.1", "tail 1.5", "tail 1.5, 90:10"), runs // 10, 1000)
    _print_left_out(runs // 4, 100)
    alike = World(tail=3.0, users=100_000, impressions=600_000, ctr=0.03, ctr_spread=0.0)
    unequal = replace(alike, ctr_spread=0.5)
    _print_delays(
        "A better challenger: clicks of both arms until it is declared.",
        {
            f"{name}, {lift:+.0%}": replace(world, lift=lift)
            for lift in (0.1, 0.2)
            for name, world in (
                ("tail 3, all of one CTR", alike),
                ("tail 3", unequal),
                ("tail 1.5", replace(unequal, tail=1.5)),
                ("tail 1.2", replace(unequal, tail=1.2)),
            )
        },
        declares_lift,
        runs=100,
        clicks=True,
    )
    many = World(tail=3.0, users=300_000, impressions=400_000)
    _print_delays(
        "Users of one arm are lost: impressions until a mismatch is found.",
        {
            f"tail {tail:g}, {lost:.0%} lost": replace(many, tail=tail, lost=lost)
            for lost in (0.05, 0.2)
            for tail in (3.0, 1.5, 1.2)
        },
        finds_mismatch,
        runs=100,
        clicks=False,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
