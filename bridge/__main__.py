"""`python -m bridge`: what can be done with the history.

Each command loads only what it needs: the doctor works where MLflow cannot be imported.
"""

import sys
from functools import partial

from bridge.keeping.history_commands import HISTORY_COMMANDS, history_command
from service.command_line import Command, CommandGroup, Offer


def _run() -> Command:
    from bridge.commands import RUN  # noqa: PLC0415 - see above

    return RUN


def _send() -> Command:
    from bridge.commands import SEND  # noqa: PLC0415 - see above

    return SEND


def _report() -> Command:
    from bridge.commands import REPORT  # noqa: PLC0415 - see above

    return REPORT


def _ui() -> Command:
    from bridge.commands import UI  # noqa: PLC0415 - see above

    return UI


def _doctor() -> Command:
    from bridge.doctor.command import DOCTOR  # noqa: PLC0415 - see above

    return DOCTOR


BRIDGE = CommandGroup(
    name="python -m bridge",
    summary="write what the service counted into MLflow runs, and look after that history",
    commands={
        "run": Offer("write the history until stopped", _run),
        "send": Offer("write what is due now, then end", _send),
        "report": Offer("draw a page about one model on one day", _report),
        "ui": Offer("serve MLflow's pages of the history", _ui),
        "doctor": Offer("say why nothing shows up in MLflow", _doctor),
        **{
            name: Offer(summary, partial(history_command, name))
            for name, summary in HISTORY_COMMANDS.items()
        },
    },
    epilog="The settings are the service's CTR_ variables and MLFLOW_TRACKING_URI.",
)
main = BRIDGE.main

if __name__ == "__main__":
    sys.exit(main())
