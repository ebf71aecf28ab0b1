"""Months of the real code in minutes: whether anything grows, and whether every day adds up.

``python -m benchmarks.months`` runs three months from before a leap day on, over changes of the
local clock; it ends with 1 where a law is broken. A short form is a test. The bounds follow from
the settings of :mod:`benchmarks.simulated_time`.
"""

import argparse
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.simulated_time import (
    ATTRIBUTION_SECONDS,
    BRIDGE_WINDOW_SECONDS,
    DAY_SECONDS,
    HISTORY_SECONDS,
    World,
    simulated,
)
from service.monitoring.counts import counts_by_model
from service.monitoring.history import TICKS_KEPT_SECONDS

BEGIN = datetime(2028, 2, 23, tzinfo=UTC)
"""A leap day, the end of a month and the change to summer time in America follow soon."""
_MINUTE = 60
_FORGETTING_SECONDS = 3600
_OUTBOX_DAYS = 7
_SETTLED_DAYS = _OUTBOX_DAYS + 3
"""After so many days everything has been dropped for the first time."""
_LAYOUTS, _KEYED_VALUES = 4, 20
"""Sets of series, and small things kept as a whole: they come with the models, not with time."""
_MOST_CLICKS_A_TICK = 4
"""One is expected; over the thousands of ticks that a table keeps more than four never are."""
_SLACK_ROWS = 3
"""A row is dropped at the next minute, and one before what is asked for is kept."""
_MOST_GROWTH = 1.1
_MOST_GROWTH_MEGABYTES = 4.0
_MOST_SLOWER = 1.25


@dataclass(frozen=True)
class Day:
    """How it stands at a midnight."""

    ended: str
    """Which UTC day is over."""
    rows: Mapping[str, int]
    """Of each table of the state."""
    state_bytes: int
    """Pages of the state; never vacuumed."""
    files: int
    """In the state folder."""
    series: int
    memory_megabytes: float
    tick_ms: float
    """Processor time of a tick with its traffic and its share of the bridge, mean over the day."""
    sent: int
    """Requests of the day, by who sent them."""
    by_window: float
    """The same by the service's window of the last 24 hours."""
    clicks: int
    """So far, by who clicked."""
    clicks_counted: float
    """The same by the service's counters."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """What was seen."""

    days: Sequence[Day]
    tick_seconds: int
    models: int
    told: Mapping[str, float]
    """Requests of each day as the bridge told them, over all windows."""
    completeness: Sequence[float]
    """Of each day and model, as the bridge told it."""
    waiting: int
    """Entries in the outbox at the end."""


def live(folder: Path, models_dir: Path, *, days: int, tick_seconds: int) -> Life:
    """Let days pass."""
    found: list[Day] = []
    began = BEGIN.timestamp()
    with simulated(folder, models_dir, began=began, tick_seconds=tick_seconds) as world:
        spent = time.process_time()

        def midnight(now: float) -> None:
            nonlocal spent
            cpu_seconds = time.process_time() - spent
            if now > began:
                tick_ms = cpu_seconds / (DAY_SECONDS / tick_seconds) * 1000
                found.append(_day(world, folder, now, tick_ms))
            spent = time.process_time()

        # Some hours more, so that the bridge has closed the last day.
        world.run(began + days * DAY_SECONDS + 2 * BRIDGE_WINDOW_SECONDS, midnight)
        waiting = world.state.outbox(world.settings.scope).backlog().entries
    return Life(
        days=found,
        tick_seconds=tick_seconds,
        models=len(world.traffic.models),
        told=world.receiver.requests,
        completeness=world.receiver.completeness,
        waiting=waiting,
    )


def bounds(models: int, tick_seconds: int) -> Mapping[str, int]:
    """Most rows of each table, by the settings."""
    windows = DAY_SECONDS // BRIDGE_WINDOW_SECONDS
    spacing = max(tick_seconds, _MINUTE)
    kept = HISTORY_SECONDS // spacing + _SLACK_ROWS
    ticks = int(TICKS_KEPT_SECONDS) // tick_seconds + kept
    cohorts = (HISTORY_SECONDS + _FORGETTING_SECONDS) // spacing + _SLACK_ROWS
    clicked = (ATTRIBUTION_SECONDS + _FORGETTING_SECONDS) // spacing + _SLACK_ROWS
    # Kept for a week once sent, and the days that are not over. Of each: all windows, each with
    # its sample and the day so far, the last words of both runs, and the report.
    outbox_days = _OUTBOX_DAYS + 2
    return {
        "schema_version": 1,
        "layouts": _LAYOUTS,
        "epochs": 1,
        "snapshots": ticks,
        "baselines": 0,
        "leases": 2,
        "keyed_values": _KEYED_VALUES,
        "drift_samples": models * ticks,
        "tracked_runs": models * 2 * outbox_days,
        "outbox": models * (3 * windows + 3) * outbox_days,
        "sampled_windows": models * windows,
        "clicked": _MOST_CLICKS_A_TICK * clicked,
        "click_cohorts": _MOST_CLICKS_A_TICK * cohorts,
        "assigned_clicks": _MOST_CLICKS_A_TICK * cohorts,
    }


def broken_laws(life: Life) -> list[str]:
    """Say what grows, and what does not add up."""
    limits = bounds(life.models, life.tick_seconds)
    wrong = [
        f"{table} has {rows} rows after {day.ended}, at most {limits[table]} were expected"
        for day in life.days
        for table, rows in day.rows.items()
        if rows > limits[table]
    ]
    return [*wrong, *_wrong_counts(life), *_growth(life.days[_SETTLED_DAYS:])]


def _growth(days: Sequence[Day]) -> Iterator[str]:
    first, last = days[: len(days) // 2], days[len(days) // 2 :]
    for what, most in (("state_bytes", _MOST_GROWTH), ("files", 1.0), ("series", 1.0)):
        before, after = (max(getattr(day, what) for day in part) for part in (first, last))
        if after > before * most:
            yield f"{what} grew from {before} to {after}"
    grown = last[-1].memory_megabytes - first[0].memory_megabytes
    if grown > _MOST_GROWTH_MEGABYTES:
        yield f"memory grew by {grown:.1f} MB"
    slower = median(day.tick_ms for day in last) / median(day.tick_ms for day in first)
    if slower > _MOST_SLOWER:
        yield f"a tick takes {slower:.2f} times as long"


def _wrong_counts(life: Life) -> Iterator[str]:
    for day in life.days:
        told = life.told[day.ended]
        if not day.sent == day.by_window == told:
            yield (
                f"{day.ended}: {day.sent} requests were sent, the window of a day has "
                f"{day.by_window:g}, the bridge told {told:g}"
            )
        if day.clicks != day.clicks_counted:
            yield f"{day.ended}: {day.clicks} clicks taken, {day.clicks_counted:g} counted"
    if life.completeness != [1.0] * life.models * len(life.days):
        yield f"days are not complete: {life.completeness}"
    if life.waiting:
        yield f"{life.waiting} entries wait in the outbox"


def _day(world: World, folder: Path, now: float, tick_ms: float) -> Day:
    snapshot = world.source.snapshot()
    window = world.source.window(DAY_SECONDS, until=snapshot)
    counts = counts_by_model(window.increases).values()
    ended = (datetime.fromtimestamp(now, UTC) - timedelta(seconds=1)).date().isoformat()
    clicks = (v for series, v in snapshot.counters.items() if series.name == "ctr_clicks_total")
    with closing(sqlite3.connect(world.settings.state_store)) as connection:
        rows = {
            table: _one(connection, f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
            for table in bounds(1, _MINUTE)
        }
        state_bytes = _one(connection, "PRAGMA page_count") * _one(connection, "PRAGMA page_size")
    return Day(
        ended=ended,
        rows=rows,
        state_bytes=state_bytes,
        files=sum(1 for path in folder.rglob("*") if path.is_file()),
        series=len(snapshot.counters),
        memory_megabytes=_memory_megabytes(),
        tick_ms=tick_ms,
        sent=world.traffic.sent[ended],
        by_window=sum(count.requests for count in counts),
        clicks=world.traffic.clicks,
        clicks_counted=sum(clicks),
    )


def _one(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _memory_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> int:
    """Simulate and print; returns 1 where a law is broken."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="(%(default)s)")
    parser.add_argument("--days", type=int, default=95, help="how many (%(default)s)")
    parser.add_argument(
        "--tick-seconds", type=int, default=300, help="from one tick to the next (%(default)s)"
    )
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        life = live(
            Path(folder), flags.models_dir, days=flags.days, tick_seconds=flags.tick_seconds
        )
    for day in (life.days[0], life.days[len(life.days) // 2], life.days[-1]):
        sys.stdout.write(f"{day}\n")
    tick_ms = median(day.tick_ms for day in life.days)
    wrong = broken_laws(life)
    ended = f"{len(life.days)} days, {tick_ms:.1f} ms of processor a tick: {len(wrong)} laws broken"
    sys.stdout.write("\n".join([*wrong, f"{ended}\n"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
