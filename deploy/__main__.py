"""Write the generated files: ``python -m deploy``; with ``--check`` only compare them."""

import argparse
import sys
from pathlib import Path

from deploy.alerting.files import committed_files
from service.command_line import Command, ExitStatus, report_error

FOLDER = Path(__file__).parent / "prometheus"


def _run(flags: argparse.Namespace) -> int:
    wanted = {FOLDER / name: text for name, text in committed_files().items()}
    if flags.check:
        stale = sorted({*_different(wanted), *_leftover(wanted)})
        for path in stale:
            report_error(DEPLOY.name, f"{path} is stale: run python -m deploy")
        return ExitStatus.FAILED if stale else ExitStatus.DONE
    for path in _leftover(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ExitStatus.DONE


def _different(wanted: dict[Path, str]) -> list[Path]:
    return [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]


def _leftover(wanted: dict[Path, str]) -> list[Path]:
    return [path for path in FOLDER.glob("rules/*.yml") if path not in wanted]


def add_check(parser: argparse.ArgumentParser) -> None:
    """Add the flag of commands that write generated files."""
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")


DEPLOY = Command(
    name="python -m deploy",
    summary="write the rules and routes of alerting from their code",
    add_flags=add_check,
    run=_run,
    process="deploy",
    failures=(OSError,),
)
main = DEPLOY.main

if __name__ == "__main__":
    sys.exit(main())
