"""`python -m service replay`: what the drift detector would have said about recorded ticks."""

import argparse
import json
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.detector import DriftDetector, Evidence
from service.monitoring.drift.from_ticks import baseline_from_ticks
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.ticks import Aggregates, Ticks

MATERIALITY = 0.01


class UnusableTicksError(ValueError):
    """A file of ticks cannot be used; the message names the file and what is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay; returns the exit status."""
    flags = _parser().parse_args(arguments)
    try:
        reference, ticks = read_ticks(flags.reference), read_ticks(flags.ticks)
        evidence = replay(reference, ticks, materiality=flags.materiality)
    except UnusableTicksError as error:
        print(f"cannot replay: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"cannot replay: {flags.reference}: {error}", file=sys.stderr)
        return 2
    summary = summary_of(evidence)
    if flags.json:
        print(json.dumps(summary, allow_nan=False))
        return 0
    most = summary["max_log_evidence"]
    print(f"{summary['ticks']} ticks, evidence at most {most} of {LOG_THRESHOLD:.2f}")
    for alarm in summary["alarms"]:
        at = datetime.fromtimestamp(alarm["time"], tz=UTC).isoformat(timespec="seconds")
        print(f"{at}  {alarm['type']}  ({alarm['channel']})")
    return 0


def replay(reference: Ticks, ticks: Ticks, *, materiality: float = MATERIALITY) -> Evidence:
    """Fold ticks through a fresh detector.

    Args:
        reference: Traffic that was right; the baseline is captured from it.
        ticks: Traffic to judge.
        materiality: Change of the mean, as a share of it, that nobody wants to hear of.

    Raises:
        ValueError: The reference cannot be a baseline, or the buckets of the two differ.
    """
    for mine, theirs in (
        (ticks.predictions, reference.predictions),
        (ticks.latency, reference.latency),
    ):
        if not np.array_equal(mine.bounds, theirs.bounds):
            raise ValueError("the ticks have other bucket bounds than the reference")
    baseline = baseline_from_ticks(
        reference,
        model_name="replay",
        model_version="replay",
        created_at=datetime.fromtimestamp(float(reference.time[-1]), tz=UTC),
        created_by="replay",
    )
    detector = DriftDetector(Reference.of(baseline, materiality=materiality), key="replay")
    return detector.advance(detector.start(), ticks)[1]


def summary_of(evidence: Evidence) -> dict[str, Any]:
    """Put it as one JSON object; a month without a tick has no greatest evidence."""
    log_evidence = evidence.log_evidence
    return {
        "ticks": len(log_evidence),
        "alarms": [
            {
                "tick": alarm.tick,
                "time": alarm.time,
                "type": alarm.kind,
                "channel": alarm.channel,
                "log_evidence": alarm.log_evidence,
                "since": alarm.since,
                "renamed": alarm.renamed,
            }
            for alarm in evidence.alarms
        ],
        "max_log_evidence": float(log_evidence.max()) if len(log_evidence) else None,
        "threshold": LOG_THRESHOLD,
    }


def read_ticks(path: Path) -> Ticks:
    """Read ticks from an ``.npz`` file.

    Raises:
        UnusableTicksError: An array is missing or has the wrong shape or content.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: np.asarray(arrays[name], dtype=np.float64) for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UnusableTicksError(f"{path}: {error}") from error
    try:
        ticks = Ticks(
            time=content["time"],
            predictions=_aggregates(content, "prediction"),
            latency=_aggregates(content, "latency"),
        )
    except KeyError as error:
        raise UnusableTicksError(f"{path} lacks the array {error}") from error
    problem = _problem(ticks)
    if problem:
        raise UnusableTicksError(f"{path}: {problem}")
    return ticks


def _aggregates(content: dict[str, np.ndarray], quantity: str) -> Aggregates:
    return Aggregates(
        total=content[f"{quantity}_sum"],
        squares=content[f"{quantity}_sum_squares"],
        buckets=content[f"{quantity}_buckets"],
        bounds=content[f"{quantity}_bounds"],
    )


def _problem(ticks: Ticks) -> str | None:
    if not len(ticks) or ticks.time.ndim != 1 or not (np.diff(ticks.time) > 0).all():
        return "time is not a list of ascending times"
    quantities = (("prediction", ticks.predictions), ("latency", ticks.latency))
    problems = (_problem_of(name, quantity, len(ticks)) for name, quantity in quantities)
    return next((problem for problem in problems if problem), None)


def _problem_of(name: str, quantity: Aggregates, length: int) -> str | None:
    bounds = quantity.bounds[np.isfinite(quantity.bounds)]
    shape = (length, len(bounds) + 1)
    if len(bounds) != len(quantity.bounds) or not (np.diff(bounds) > 0).all():
        return f"{name}_bounds are not finite and ascending"
    if quantity.buckets.shape != shape:
        return f"{name}_buckets have shape {quantity.buckets.shape}, not {shape}"
    if quantity.total.shape != (length,) or quantity.squares.shape != (length,):
        return f"{name}_sum or {name}_sum_squares are not one a tick"
    if not all(
        np.isfinite(part).all() and (part >= 0).all()
        for part in (quantity.buckets, quantity.total, quantity.squares)
    ):
        return f"{name}: a number is negative or not finite"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service replay",
        description="Replay recorded ticks through the drift detector.",
    )
    parser.add_argument("--reference", type=Path, required=True, help="traffic that was right")
    parser.add_argument("--ticks", type=Path, required=True, help="traffic to judge")
    parser.add_argument(
        "--materiality",
        type=_share,
        default=MATERIALITY,
        help="change of the mean, as a share of it, that is immaterial (0.01)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("give a share of 0 up to 1")
    return value
