"""The commands about the history as a whole: export, backup, restore, archive."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from service.command_line import Command, add_json

HISTORY_COMMANDS: Mapping[str, str] = {
    "export": "write the last days as a table",
    "backup": "copy the history and verify the copy",
    "restore": "put a backup or an archive into a store",
    "archive": "move old daily runs into files",
}
"""What each is for."""


def history_command(name: str) -> Command:
    """Make one of them."""
    # What they need is not for the memory of a bridge that runs for months.
    from bridge.commands import FAILURES, MISUSES, needing_mlflow  # noqa: PLC0415 - see above
    from bridge.keeping.stored_runs import HistoryError  # noqa: PLC0415 - see above

    def run(flags: argparse.Namespace) -> int:
        from bridge.keeping.history_actions import run_history_command  # noqa: PLC0415 - see above
        from service.settings import Settings  # noqa: PLC0415 - see above

        return run_history_command(name, flags, Settings.from_environment(os.environ))

    def add_flags(parser: argparse.ArgumentParser) -> None:
        _FLAGS_OF[name](parser)
        add_json(parser)

    return Command(
        name=f"python -m bridge {name}",
        summary=HISTORY_COMMANDS[name],
        add_flags=add_flags,
        run=needing_mlflow(run),
        process=name,
        misuses=MISUSES,
        failures=(*FAILURES, HistoryError, OSError),
    )


def _add_export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--days", type=_positive, required=True, metavar="N", help="how far back from now"
    )
    parser.add_argument(
        "--format", choices=("csv", "parquet"), required=True, help="kind of the table"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="gets a row for each window"
    )
    parser.add_argument("--model", metavar="NAME", help="only this model")


def _add_backup_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="gets a folder for this backup"
    )
    parser.add_argument(
        "--keep", type=_positive, default=0, metavar="N", help="then remove all but the newest N"
    )


def _add_restore_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        type=Path,
        required=True,
        metavar="DIR",
        dest="source",
        help="a backup or an archive",
    )
    parser.add_argument("--to", required=True, metavar="URI", help="tracking URI of the store")
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="where the service's state in a backup goes"
    )


def _add_archive_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than", type=_positive, required=True, metavar="DAYS", help="runs of earlier days"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="gets a folder for each run"
    )
    parser.add_argument("--apply", action="store_true", help="do it; else only say what")


_FLAGS_OF = {
    "export": _add_export_flags,
    "backup": _add_backup_flags,
    "restore": _add_restore_flags,
    "archive": _add_archive_flags,
}


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number
