"""`python -m service`: serve the trained models, or what else can be done with them.

Each command loads only what it needs.
"""

import sys
from collections.abc import Sequence

_COMMANDS = """\
usage: python -m service [COMMAND] [FLAGS]

commands:
  serve   serve the trained models (also without a command)
  score   score a click log offline, and write a baseline from it
  replay  say what the drift detector would have said about old traffic

python -m service COMMAND --help explains the flags of each."""


def main(arguments: Sequence[str]) -> int:
    """Run a command, `serve` where none is named; returns the exit status."""
    match arguments:
        case ["-h" | "--help"]:
            print(_COMMANDS)
            return 0
        case ["replay", *rest]:
            from service.replay import main as replay  # noqa: PLC0415 - see above

            return replay(rest)
        case ["score", *rest]:
            from service.scoring.command import main as score  # noqa: PLC0415 - see above

            return score(rest)
        case ["serve", *rest] | [*rest]:
            from service.launcher import main as serve  # noqa: PLC0415 - see above

            return serve(rest)
        case _:
            raise AssertionError(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
