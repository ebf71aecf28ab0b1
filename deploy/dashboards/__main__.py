"""`python -m deploy.dashboards`: write the dashboards, or say that the committed ones are stale."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.__main__ import add_check
from deploy.dashboards.comparison import comparison
from deploy.dashboards.frame import as_json
from deploy.dashboards.one_model import one_model
from deploy.dashboards.overview import overview
from service.command_line import Command, ExitStatus, report_error

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"


def dashboards() -> Mapping[str, str]:
    """Build every dashboard: its content by the name of its file."""
    return {
        "overview.json": as_json(overview()),
        "model.json": as_json(one_model()),
        "comparison.json": as_json(comparison()),
    }


def stale_files(folder: Path) -> list[str]:
    """Names of files that are not what the code says, missing, or not known to it."""
    built = dashboards()
    there = {path.name: path.read_text() for path in folder.glob("*.json")}
    return sorted(name for name in built.keys() | there if built.get(name) != there.get(name))


def _run(flags: argparse.Namespace) -> int:
    if flags.check:
        stale = stale_files(flags.output)
        for name in stale:
            path = flags.output / name
            report_error(DASHBOARDS.name, f"{path} is stale: run python -m deploy.dashboards")
        return ExitStatus.FAILED if stale else ExitStatus.DONE
    flags.output.mkdir(parents=True, exist_ok=True)
    for name, content in dashboards().items():
        (flags.output / name).write_text(content)
    return ExitStatus.DONE


def _add_flags(parser: argparse.ArgumentParser) -> None:
    shown = FOLDER.relative_to(Path(__file__).parents[2])
    parser.add_argument(
        "--output", type=Path, default=FOLDER, metavar="DIR", help=f"gets the files ({shown})"
    )
    add_check(parser)


DASHBOARDS = Command(
    name="python -m deploy.dashboards",
    summary="write the Grafana dashboards from their code",
    add_flags=_add_flags,
    run=_run,
    process="deploy",
    failures=(OSError,),
)
main = DASHBOARDS.main


if __name__ == "__main__":
    sys.exit(main())
