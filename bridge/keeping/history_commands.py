"""The subcommands about the history as a whole: export, backup, restore, archive."""

import argparse
from pathlib import Path
from typing import Protocol

from service.settings import Settings


class Commands(Protocol):
    """Where subcommands are added; argparse has no public name for it."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add one."""


def add_history_commands(commands: Commands) -> None:
    """Add the subcommands."""
    exporting = commands.add_parser("export", help="write the last days as a table")
    exporting.add_argument("--days", type=_days, required=True, metavar="N")
    exporting.add_argument("--format", choices=("csv", "parquet"), required=True)
    exporting.add_argument("--output", type=Path, required=True, metavar="FILE")
    exporting.add_argument("--model", metavar="NAME", help="only this model")

    backing_up = commands.add_parser("backup", help="copy the history and verify the copy")
    backing_up.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    backing_up.add_argument(
        "--keep", type=_days, default=0, metavar="N", help="then remove all but the newest N"
    )

    restoring = commands.add_parser("restore", help="put a backup or an archive into a store")
    restoring.add_argument("--from", type=Path, required=True, metavar="FOLDER", dest="source")
    restoring.add_argument("--to", required=True, metavar="URI")
    restoring.add_argument(
        "--state", type=Path, metavar="FILE", help="where the service's state in a backup goes"
    )

    archiving = commands.add_parser("archive", help="move old daily runs into files")
    archiving.add_argument("--older-than", type=_days, required=True, metavar="DAYS")
    archiving.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    archiving.add_argument("--apply", action="store_true", help="do it; else only say what")

    for parser in (exporting, backing_up, restoring, archiving):
        parser.add_argument("--json", action="store_true", help="say what was done in JSON")
        parser.set_defaults(run_command=_run)


def _run(flags: argparse.Namespace, settings: Settings) -> int:
    # What they need is not for the memory of a bridge that runs for months.
    from bridge.keeping.history_actions import run_history_command  # noqa: PLC0415

    return run_history_command(flags, settings)


def _days(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number
