"""The commands that write and show the history; what each needs besides is loaded by it."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bridge.report import day_of
from bridge.tracking import TrackingUnavailableError
from bridge.tracking_uri import UnusableTrackingUriError, store_of
from bridge.ui import open_ui
from service.command_line import Command, ExitStatus, UsageError, add_json
from service.logs import say
from service.monitoring.tracking import RunKind
from service.prediction.experiment import ExperimentError
from service.settings import InvalidSettingsError, Settings
from service.state.bridge_statuses import BridgeStatuses
from service.state.errors import StateError
from service.state.store import open_state

MISUSES: Final = (ExperimentError, InvalidSettingsError, UnusableTrackingUriError)


class NotDoneError(Exception):
    """What was asked for could not be done, or not all of it; the message says why."""


FAILURES: Final = (NotDoneError, StateError, TrackingUnavailableError)


def needing_mlflow(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Say of a library that is missing how to find out more."""

    def carried_out(flags: argparse.Namespace) -> int:
        # MLflow would set up its loggers in a form of their own.
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        try:
            return run(flags)
        except ImportError as error:
            raise NotDoneError(f"{error}; see python -m bridge doctor") from error

    return carried_out


def _run(flags: argparse.Namespace) -> int:
    from bridge.process import run  # noqa: PLC0415 - what a bridge consists of

    run(Settings.from_environment(os.environ), end_with_stdin=flags.end_with_stdin)
    return ExitStatus.DONE


def _send(flags: argparse.Namespace) -> int:
    """Freeze and send what is due, once."""
    from bridge.process import open_bridge  # noqa: PLC0415 - what a bridge consists of

    with open_bridge(Settings.from_environment(os.environ)) as bridge:
        if not bridge.lease.renew():
            raise NotDoneError("another bridge is at work; it sends what waits")
        windows, releases = bridge.freeze(), bridge.record_releases()
        points, files = bridge.send(), bridge.file()
        bridge.keep_lease()
        problem = bridge.problem
    if flags.json:
        done = {"windows": windows, "releases": releases, "points": points, "files": files}
        sys.stdout.write(f"{json.dumps({**done, 'problem': problem or None})}\n")
    else:
        frozen = f"{windows} windows and {releases} releases frozen"
        say(f"{frozen}, {points} points and {files} files sent", to=sys.stdout)
    if problem:
        raise NotDoneError(f"not everything was sent: {problem}")
    return ExitStatus.DONE


def _report(flags: argparse.Namespace) -> int:
    """Draw the report of one run into a file."""
    if flags.run is None and (flags.model is None or flags.day is None):
        raise UsageError("give --model and --day, or --run")
    from bridge.report_page import page_of  # noqa: PLC0415 - plots cost memory that others save

    settings = Settings.from_environment(os.environ)
    with open_state(settings.state_store) as state:
        outbox = state.outbox(settings.monitored_scope)
        if flags.run is None:
            keys = [run.key for run in outbox.runs_of(flags.model, RunKind.MONITORING)]
            wanted = [key for key in keys if flags.day in key.split("|")]
        else:
            wanted = [flags.run] if outbox.knows(flags.run) else []
        if not wanted:
            raise NotDoneError("there is no such model and day in the state store")
        known = outbox.run(wanted[-1], "")
        flags.output.write_text(page_of(day_of(state, settings.monitored_scope, known.run)))
    return ExitStatus.DONE


def _ui(_: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    store = store_of(settings, Path.cwd())
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with open_state(settings.state_store) as state:
        status = BridgeStatuses(state.values, settings.monitored_scope).load()
    experiment_id = None if status is None or status.store != store.name else status.experiment_id
    return open_ui(store, ui_url=settings.mlflow_ui, experiment_id=experiment_id)


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="stop when standard input ends"
    )


def _add_report_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="model that it is about, such as xgboost")
    parser.add_argument("--day", metavar="DAY", help="UTC day, such as 2026-11-23")
    parser.add_argument("--run", metavar="KEY", help="key of the run, instead of model and day")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="HTML file to write"
    )


def _no_flags(_: argparse.ArgumentParser) -> None:
    """Add none."""


RUN = Command(
    name="python -m bridge run",
    summary="write the history until stopped",
    add_flags=_add_run_flags,
    run=needing_mlflow(_run),
    process="bridge",
    misuses=MISUSES,
    failures=FAILURES,
    serves=True,
)
SEND = Command(
    name="python -m bridge send",
    summary="write what is due now, then end",
    add_flags=add_json,
    run=needing_mlflow(_send),
    process="bridge",
    misuses=MISUSES,
    failures=FAILURES,
)
REPORT = Command(
    name="python -m bridge report",
    summary="draw a page about one model on one day",
    add_flags=_add_report_flags,
    run=needing_mlflow(_report),
    process="report",
    misuses=MISUSES,
    failures=(*FAILURES, OSError),
)
UI = Command(
    name="python -m bridge ui",
    summary="serve MLflow's pages of the history",
    add_flags=_no_flags,
    run=needing_mlflow(_ui),
    process="ui",
    misuses=MISUSES,
    failures=(*FAILURES, OSError),
    serves=True,
)
