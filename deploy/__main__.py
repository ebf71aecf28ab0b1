"""Write the generated files: ``python -m deploy``; with ``--check`` only compare them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.alerting.files import committed_files

FOLDER = Path(__file__).parent / "prometheus"


def main(argv: Sequence[str] | None = None) -> int:
    """Write or compare; return 1 where a file is not what the code says."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    wanted = {FOLDER / name: text for name, text in committed_files().items()}
    if parser.parse_args(argv).check:
        stale = sorted({*_different(wanted), *_leftover(wanted)})
        for path in stale:
            sys.stderr.write(f"{path} is stale: python -m deploy\n")
        return 1 if stale else 0
    for path in _leftover(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


def _different(wanted: dict[Path, str]) -> list[Path]:
    return [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]


def _leftover(wanted: dict[Path, str]) -> list[Path]:
    return [path for path in FOLDER.glob("rules/*.yml") if path not in wanted]


if __name__ == "__main__":
    sys.exit(main())
