"""`python -m demo`: start everything, and tell a story with it."""

import argparse
import math
import sys
from contextlib import ExitStack
from pathlib import Path

from demo.audience import Audience
from demo.chapters import story
from demo.interruption import InterruptedDemoError, Interruption
from demo.models import prepare
from demo.narrator import Narrator
from demo.places import Places, address, fresh_folder
from demo.programs import StageError
from demo.questions import Asking
from demo.stage import Stage, prometheus_program
from demo.telling import Telling
from demo.visitors import Visitors
from service.command_line import Command, ExitStatus, start

_PER_SECOND = 120
_SEED = 1
_LAST_PORT = 65_535


def _play(flags: argparse.Namespace) -> int:
    narrator, interruption = Narrator(), Interruption()
    interruption.listen()
    try:
        places = _places(flags)
        with fresh_folder(flags.folder.absolute()) as run:
            _run(flags, places, run, narrator, interruption)
    except InterruptedDemoError:
        narrator.say()
        narrator.say("ended; nothing is left running")
    return ExitStatus.DONE


def _places(flags: argparse.Namespace) -> Places:
    return Places(
        service=address("--port", flags.port),
        mlflow=address("--mlflow-port", flags.mlflow_port),
        prometheus=None
        if prometheus_program() is None
        else address("--prometheus-port", flags.prometheus_port),
    )


def _run(
    flags: argparse.Namespace,
    places: Places,
    run: Path,
    narrator: Narrator,
    interruption: Interruption,
) -> None:
    models = run.parent / "models"
    audience = Audience.of_simulation()
    narrator.say("starting; Ctrl-C ends everything at any moment")
    with ExitStack() as open_until_the_end:
        stage = open_until_the_end.enter_context(
            Stage(run, models, places, interruption=interruption, narrator=narrator)
        )

        def train(*, again: bool) -> None:
            prepare(stage, audience, models=models, run=run, narrator=narrator, again=again)

        train(again=False)
        stage.start_service()
        stage.start_others()
        _welcome(places, run, narrator)
        visitors = open_until_the_end.enter_context(
            Visitors(places.service, audience, per_second=_PER_SECOND, seed=_SEED)
        )
        asking = open_until_the_end.enter_context(Asking(places))
        telling = Telling(
            stage=stage,
            visitors=visitors,
            asking=asking,
            narrator=narrator,
            interruption=interruption,
            speed=flags.speed,
            release=lambda: train(again=True),
        )
        telling.tell(story(places, until_alarm=flags.until_alarm))
        narrator.say()
        narrator.say("The story is told. Normal traffic goes on until Ctrl-C.")
        telling.go_on()


def _welcome(places: Places, run: Path, narrator: Narrator) -> None:
    narrator.say(f"the page     {places.service}/", indent=2)
    narrator.say(f"try it       {places.service}/docs", indent=2)
    narrator.say(
        f"MLflow       {places.mlflow}/, links in {places.service}/monitoring/mlflow", indent=2
    )
    narrator.say(
        "Prometheus   is not installed; the rest goes without it (Debian: apt install prometheus)"
        if places.prometheus is None
        else f"Prometheus   {places.prometheus}/alerts",
        indent=2,
    )
    narrator.say(f"logs         {run}", indent=2)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, default=8000, help="of the service (%(default)s)")
    parser.add_argument(
        "--mlflow-port", type=_port, default=5000, metavar="PORT", help="of MLflow (%(default)s)"
    )
    parser.add_argument(
        "--prometheus-port",
        type=_port,
        default=9090,
        metavar="PORT",
        help="of Prometheus (%(default)s); of each port, 0 takes any that is free",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        default=Path("var/demo"),
        help="for models, state, history and logs (%(default)s)",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        help="shorten what is there for reading, so many times; what the service needs to be sure "
        "stays (%(default)g)",
    )
    parser.add_argument(
        "--until-alarm",
        action="store_true",
        help="let clicks be missing until the alarm of calibration stands, some 20 minutes",
    )


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to {_LAST_PORT}")
    return number


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed; give a number above 0, as 2")
    return value


DEMO = Command(
    name="python -m demo",
    summary="start everything and tell a story of six minutes with simulated visitors",
    add_flags=_add_flags,
    run=_play,
    process="demo",
    epilog=(
        "The story: normal traffic, a campaign that shifts the predictions, clicks that decay, "
        "errors that burst, and recovery. What is said is what the service answers over REST. "
        "Everything is on 127.0.0.1; models, state and history are in a folder of their own, and "
        "nothing of yours is read or changed. It goes on until Ctrl-C, which ends everything."
    ),
    failures=(StageError, OSError),
    serves=True,
)

if __name__ == "__main__":
    sys.exit(start(lambda: DEMO))
