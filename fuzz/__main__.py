"""``python -m fuzz`` searches for inputs that break a law."""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

from fuzz.runner import Target, fuzz

_TARGETS = Path(__file__).parent / "targets"
NAMES = sorted(path.stem for path in _TARGETS.glob("[a-z]*.py"))
"""Of all targets."""
FINDINGS = Path("var/fuzz")


def main() -> int:
    """Search for inputs that break a law; returns 1 where one was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=main.__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(NAMES)} (all)"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--runs", type=int, default=-1, help="at most so many inputs (no limit)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (%(default)s)")
    parser.add_argument("--input", type=Path, help="try this file alone, with one target")
    flags = parser.parse_args()
    unknown = set(flags.targets) - set(NAMES)
    if unknown:
        parser.error(f"{min(unknown)} is no target; there are {', '.join(NAMES)}")
    targets = flags.targets or NAMES
    if flags.input is not None:
        if len(targets) != 1:
            parser.error("--input: name the one target that it is for")
        target: Target = importlib.import_module(f"fuzz.targets.{targets[0]}")
        target.check(flags.input.read_bytes())
        return 0
    limits = {"seconds": flags.seconds, "runs": flags.runs, "seed": flags.seed}
    if len(targets) == 1:
        fuzz(f"fuzz.targets.{targets[0]}", **limits, findings=FINDINGS)
    given = [f"--{name}={value}" for name, value in limits.items()]
    broken = []
    for name in targets:
        # libFuzzer ends the process that it searches in.
        command = [sys.executable, "-m", "fuzz", name, *given]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - ourselves
            broken.append(name)
    sys.stdout.write(f"broken: {', '.join(broken) or 'none'} of {', '.join(targets)}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
