"""`python -m deploy.dashboards`: write the dashboards, or say that the committed ones are stale."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.dashboards.comparison import comparison
from deploy.dashboards.frame import as_json
from deploy.dashboards.one_model import one_model
from deploy.dashboards.overview import overview

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


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.dashboards", description=__doc__)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args()
    if options.check:
        stale = stale_files(options.output)
        if stale:
            sys.stderr.write(
                f"not what the code says: {', '.join(stale)}; run python -m deploy.dashboards\n"
            )
        return int(bool(stale))
    options.output.mkdir(parents=True, exist_ok=True)
    for name, content in dashboards().items():
        (options.output / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
