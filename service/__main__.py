"""`python -m service`: serve the trained models; `python -m service replay`: judge old traffic.

Each command loads only what it needs.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run a command, `serve` where none is named; returns the exit status."""
    match arguments:
        case ["replay", *rest]:
            from service.replay import main as replay  # noqa: PLC0415 - see above

            return replay(rest)
        case ["serve", *rest] | [*rest]:
            from service.launcher import main as serve  # noqa: PLC0415 - see above

            return serve(rest)
        case _:
            raise AssertionError(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
