"""A change of the version that is served: what the model did before, and after."""

import math
from collections.abc import Sequence

from bridge.points import Numbers, common_numbers
from bridge.runs import RunNaming
from bridge.windows import Slot
from service.monitoring.tracking import Entry, EntryKind, Point, RunKind, TrackedRun
from service.state.outbox import Outbox

COMPARED_WINDOWS = 12
"""So many windows of each version are compared."""
_COMPARED = (
    *("requests_per_minute", "error_rate", "avg_latency_ms", "p95_latency_ms"),
    *("mean_prediction", "std_prediction", "drift_log_evidence"),
)


def change_of_version(
    outbox: Outbox, naming: RunNaming, run: TrackedRun, slot: Slot
) -> tuple[TrackedRun, Entry] | None:
    """Describe the change that brought a version in, once it has enough windows.

    Args:
        outbox: Where the frozen windows are.
        naming: Of the runs.
        run: Of the version's day, with a window frozen at ``slot``.
        slot: The newest window.

    Returns:
        None where there is no change to describe, or not yet.
    """
    after = outbox.entries(run.key, EntryKind.WINDOW)[:COMPARED_WINDOWS]
    if len(after) < COMPARED_WINDOWS or outbox.knows(naming.change_key(run, slot)):
        return None
    known = outbox.runs_of(run.model_name, RunKind.MONITORING)
    if any(r.model_version == run.model_version and r.day < run.day for r in known):
        return None
    # One that came in on the same day after this one did not make place for it.
    others = [
        r
        for r in known
        if r.model_version != run.model_version
        and (r.day < run.day or (r.day == run.day and _began(outbox, r) < after[0].step))
    ]
    if not others:
        return None
    # Versions are named by the time of training; of the same day the later one was replaced.
    replaced = max(others, key=lambda other: (other.day, other.model_version))
    before = outbox.entries(replaced.key, EntryKind.WINDOW)[-COMPARED_WINDOWS:]
    versions = (replaced.model_version, run.model_version)
    event = naming.of_change(run.model_name, versions, slot)
    means = [_means([common_numbers(entry.points) for entry in part]) for part in (before, after)]
    at = slot.end * 1000
    entry = Entry(
        run_key=event.key,
        kind=EntryKind.EVENT,
        step=slot.number,
        points=[
            Point(f"{when}/{name}", value, at, slot.number)
            for when, numbers in zip(("before", "after"), means, strict=True)
            for name, value in numbers.items()
        ],
        tags={"mlflow.note.content": _table(versions, *means)},
        end_ms=at,
    )
    return event, entry


def _began(outbox: Outbox, run: TrackedRun) -> float:
    windows = outbox.entries(run.key, EntryKind.WINDOW)
    return windows[0].step if windows else math.inf


def _means(windows: Sequence[Numbers]) -> Numbers:
    found = {}
    for name in _COMPARED:
        values = [window[name] for window in windows if name in window]
        if values:
            found[name] = sum(values) / len(values)
    return found


def _table(versions: tuple[str, str], before: Numbers, after: Numbers) -> str:
    """Write it as Markdown; MLflow shows it as the run's description."""
    rows = [
        f"| {name} | {_cell(before.get(name))} | {_cell(after.get(name))} |" for name in _COMPARED
    ]
    return "\n".join(
        [
            f"Means over up to {COMPARED_WINDOWS} windows of each version.",
            "",
            f"| | {versions[0]} | {versions[1]} |",
            "| --- | --- | --- |",
            *rows,
        ]
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
