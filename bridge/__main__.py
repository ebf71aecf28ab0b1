"""`python -m bridge`: what can be done with the history.

Each command loads only what it needs: the doctor works where MLflow cannot be imported.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bridge.doctor.examination import as_json, as_text, examine, worst
from bridge.doctor.findings import Finding, Level
from bridge.keeping.history_commands import add_history_commands
from bridge.report import day_of
from bridge.tracking import TrackingUnavailableError
from bridge.tracking_uri import UnusableTrackingUriError, store_of
from bridge.ui import open_ui
from service.monitoring.tracking import RunKind
from service.prediction.experiment import ExperimentError
from service.settings import InvalidSettingsError, Settings
from service.state.bridge_statuses import BridgeStatuses
from service.state.errors import StateError
from service.state.store import open_state

_CANNOT_START = (
    ExperimentError,
    InvalidSettingsError,
    StateError,
    TrackingUnavailableError,
    UnusableTrackingUriError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status."""
    flags = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="bridge: %(message)s")
    if flags.command == "doctor":
        return _doctor(as_json if flags.json else as_text)
    try:
        return _carry_out(Settings.from_environment(os.environ), flags)
    except _CANNOT_START as error:
        print(f"the bridge cannot start: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"the bridge cannot start: {error}; see python -m bridge doctor", file=sys.stderr)
        return 2


def _carry_out(settings: Settings, flags: argparse.Namespace) -> int:
    if flags.command == "send":
        return _send(settings)
    if flags.command == "report":
        return _report(settings, flags)
    if flags.command == "ui":
        return _ui(settings)
    if "run_command" in flags:
        return int(flags.run_command(flags, settings))
    from bridge.process import run  # noqa: PLC0415 - see above

    run(settings, end_with_stdin=flags.end_with_stdin)
    return 0


def _doctor(report: Callable[[Sequence[Finding]], str]) -> int:
    """Say why nothing shows up."""
    findings = examine(os.environ, Path.cwd())
    print(report(findings))
    return int(worst(findings) is Level.PROBLEM)


def _send(settings: Settings) -> int:
    """Freeze and send what is due, once."""
    from bridge.process import open_bridge  # noqa: PLC0415 - see above

    with open_bridge(settings) as bridge:
        if not bridge.lease.renew():
            print("another bridge is at work; it sends what waits", file=sys.stderr)
            return 1
        windows, releases = bridge.freeze(), bridge.record_releases()
        points, files = bridge.send(), bridge.file()
        bridge.keep_lease()
        problem = bridge.problem
    print(
        f"{windows} windows and {releases} releases frozen, {points} points and {files} files sent"
    )
    if problem:
        print(f"not everything was sent: {problem}", file=sys.stderr)
        return 1
    return 0


def _report(settings: Settings, flags: argparse.Namespace) -> int:
    """Draw the report of one run into a file."""
    from bridge.report_page import page_of  # noqa: PLC0415 - plots cost memory that others save

    with open_state(settings.state_store) as state:
        outbox = state.outbox(settings.monitored_scope)
        if flags.run is None:
            keys = [run.key for run in outbox.runs_of(flags.model, RunKind.MONITORING)]
            wanted = [key for key in keys if flags.day in key.split("|")]
        else:
            wanted = [flags.run] if outbox.knows(flags.run) else []
        if not wanted:
            print("there is no such model and day in the state store", file=sys.stderr)
            return 1
        known = outbox.run(wanted[-1], "")
        flags.output.write_text(page_of(day_of(state, settings.monitored_scope, known.run)))
    return 0


def _ui(settings: Settings) -> int:
    store = store_of(settings, Path.cwd())
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with open_state(settings.state_store) as state:
        status = BridgeStatuses(state.values, settings.monitored_scope).load()
    experiment_id = None if status is None or status.store != store.name else status.experiment_id
    return open_ui(store, ui_url=settings.mlflow_ui, experiment_id=experiment_id)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bridge",
        description="Write what the service counted into MLflow runs.",
        epilog="The settings are the service's CTR_ variables and MLFLOW_TRACKING_URI.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    running = commands.add_parser("run", help="write the history until stopped")
    running.add_argument(
        "--end-with-stdin", action="store_true", help="stop when standard input ends"
    )
    commands.add_parser("send", help="write what is due now, then end")
    report = commands.add_parser("report", help="draw a page about one model on one day")
    report.add_argument("--model", help="such as xgboost")
    report.add_argument("--day", help="UTC day, such as 2026-11-23")
    report.add_argument("--run", help="key of the run, instead of model and day")
    report.add_argument("--output", type=Path, required=True, help="HTML file to write")
    commands.add_parser("ui", help="serve MLflow's pages of the history")
    doctor = commands.add_parser("doctor", help="say why nothing shows up in MLflow")
    doctor.add_argument("--json", action="store_true", help="write JSON")
    add_history_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
