"""How fast the service is, measured beside others in one run: ``python -m benchmarks.serving``.

Run from the repository's root. ``make bench`` installs what it needs and runs it first.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.serving import (
    anatomy,
    batches,
    evaluation,
    growth,
    polling,
    recording,
    starting,
    throughput,
    tracking,
    workers,
)
from benchmarks.serving.load import LoadFailedError
from benchmarks.serving.machine import Cores, Machine, ToolMissingError
from benchmarks.serving.report import as_json, details, summary
from benchmarks.serving.results import Part
from benchmarks.serving.servers import ServerFailedError
from benchmarks.serving.setup import FULL, QUICK, Setup, WrongAnswerError
from benchmarks.serving.subject import Subject

_MODELS = Path("var/benchmark/models")
_PARTS = (
    "throughput",
    "recording",
    "anatomy",
    "polling",
    "batches",
    "evaluation",
    "workers",
    "starting",
    "growth",
    "tracking",
)
_FAILURES = (LoadFailedError, ServerFailedError, ToolMissingError, WrongAnswerError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 1 where the figures would be void, 2 where a tool is missing."""
    flags = _parser().parse_args(arguments)
    try:
        machine = Machine.here()
        print(f"# Serving\n\n{machine}\nCores: {Cores.divided()}.", flush=True)
        parts = _measured(flags)
    except _FAILURES as failure:
        print(f"nothing can be said: {failure}", file=sys.stderr)
        return 2 if isinstance(failure, ToolMissingError) else 1
    print(f"\n## All figures\n\n{summary(parts)}")
    if flags.json is not None:
        flags.json.write_text(as_json(machine, parts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure how fast the service is.")
    parser.add_argument("--quick", action="store_true", help="about a minute: does it work at all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--models", type=Path, default=_MODELS, help=f"folder ({_MODELS})")
    parser.add_argument(
        "--only", nargs="+", choices=_PARTS, default=_PARTS, metavar="PART", help=", ".join(_PARTS)
    )
    return parser


def _measured(flags: argparse.Namespace) -> list[Part]:
    subject = Subject.at(flags.models)
    effort = QUICK if flags.quick else FULL
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup.of(subject, Cores.divided(), effort, Path(folder))
        began = time.monotonic()
        for part in _each(setup, flags.only):
            parts.append(part)
            print(f"\n{details(part)}", flush=True)
            print(f"\n({time.monotonic() - began:.0f} s)", flush=True)
            began = time.monotonic()
    return parts


def _each(setup: Setup, chosen: Sequence[str]) -> Iterator[Part]:
    cpu_us = None
    if "throughput" in chosen:
        measured = throughput.measure(setup)
        cpu_us = measured.cpu_us
        yield measured.part()
    if "recording" in chosen:
        yield recording.measure(setup, cpu_us=cpu_us)
    if "anatomy" in chosen:
        yield anatomy.measure(setup, cpu_us=cpu_us)
    others = {
        "polling": polling.measure,
        "batches": batches.measure,
        "evaluation": evaluation.measure,
        "workers": workers.measure,
        "starting": starting.measure,
        "growth": growth.measure,
        "tracking": tracking.measure,
    }
    for name in chosen:
        if name in others:
            yield others[name](setup)


if __name__ == "__main__":
    sys.exit(main())
