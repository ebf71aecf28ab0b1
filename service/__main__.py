"""`python -m service`: serve the trained models, or what else can be done with them.

Each command loads only what it needs.
"""

import sys

from service.command_line import Command, CommandGroup, Offer


def _serve() -> Command:
    from service.launcher import SERVE  # noqa: PLC0415 - see above

    return SERVE


def _score() -> Command:
    from service.scoring.command import SCORE  # noqa: PLC0415 - see above

    return SCORE


def _replay() -> Command:
    from service.replay import REPLAY  # noqa: PLC0415 - see above

    return REPLAY


SERVICE = CommandGroup(
    name="python -m service",
    summary="serve the trained models, or do something else with them",
    commands={
        "serve": Offer("serve the trained models until stopped (also without a command)", _serve),
        "score": Offer("score a click log offline, and write a baseline from it", _score),
        "replay": Offer("say what the drift detector would have said about old traffic", _replay),
    },
    default="serve",
    epilog="python -m service COMMAND --help explains the flags of each.",
)
main = SERVICE.main

if __name__ == "__main__":
    sys.exit(main())
