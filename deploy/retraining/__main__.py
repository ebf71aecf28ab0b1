"""Train again when Alertmanager says that a model's drift persists.

``python -m deploy.retraining [options] [-- COMMAND ...]``
"""

import argparse
import os
import sys
from pathlib import Path

from deploy.retraining.challenge import Challenge, ChallengeError, ExperimentFile
from deploy.retraining.receiver import PATH, Receiver
from deploy.retraining.training import CHALLENGERS, MODELS_VARIABLE, Training
from service.command_line import Command, ExitStatus, UsageError
from service.logs import say

_SHOWN_TO_SERVICE = "CTR_API_TOKEN"
"""Variable that holds what the service wants to be shown, where it does."""
_TRAIN = (sys.executable, "scripts/train_models.py")
_TRAIN_CHALLENGERS = (*_TRAIN, "--write-as", CHALLENGERS)


def _run(arguments: argparse.Namespace) -> int:
    token = arguments.token_file and arguments.token_file.read_text().strip()
    if token == "":
        raise UsageError(f"--token-file: {arguments.token_file} is empty; write the token into it")
    challenge = _challenge(arguments)
    training = Training(
        arguments.command or (_TRAIN_CHALLENGERS if challenge else _TRAIN),
        lock=arguments.state_dir / "retraining.lock",
        cooldown_seconds=arguments.cooldown,
        timeout_seconds=arguments.timeout,
        challenge=challenge,
    )
    with Receiver((arguments.host, arguments.port), training, token) as receiver:
        host, port = receiver.server_address[:2]
        say(f"retraining on drift at http://{host!s}:{port}{PATH}", to=sys.stdout)
        try:
            receiver.serve_forever()
        except KeyboardInterrupt:
            training.wait()
    return ExitStatus.DONE


def _challenge(arguments: argparse.Namespace) -> Challenge | None:
    if arguments.service_url is None:
        return None
    ExperimentFile.read(arguments.experiment_file)
    return Challenge(
        experiment_file=arguments.experiment_file,
        service_url=arguments.service_url,
        weight=None if arguments.shadow is not None else arguments.weight,
        shadow_share=arguments.shadow or 1.0,
        token=os.environ.get(_SHOWN_TO_SERVICE),
    )


def _share(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share above 0, up to 1")
    return number


def _weight(text: str) -> float:
    number = _share(text)
    if number == 1:
        raise argparse.ArgumentTypeError("a weight of 1 leaves nobody to compare with")
    return number


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=9095, help="port to listen on (%(default)s)")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds what Alertmanager must show as bearer token",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path("var"),
        metavar="DIR",
        help="folder of lock and cool-down (%(default)s)",
    )
    parser.add_argument(
        "--cooldown",
        type=float,
        default=86_400.0,
        metavar="SECONDS",
        help="seconds from one training to the next",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=14_400.0,
        metavar="SECONDS",
        help="seconds that a training may take",
    )
    parser.add_argument(
        "--service-url",
        help="let what was trained compete in the service there, such as http://127.0.0.1:8000",
    )
    parser.add_argument(
        "--experiment-file",
        type=Path,
        default=Path("experiment.toml"),
        metavar="FILE",
        help="A/B test of that service (%(default)s)",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--weight", type=_weight, default=0.1, help="share of users that a challenger gets (0.1)"
    )
    ways.add_argument(
        "--shadow", type=_share, help="share of requests that it scores without answering, instead"
    )
    parser.add_argument(
        "command",
        nargs="*",
        help=(
            f"what trains (default: scripts/train_models.py); {MODELS_VARIABLE} names the models, "
            f"and {CHALLENGERS} in it becomes what is to be written as what"
        ),
    )


RETRAINING = Command(
    name="python -m deploy.retraining",
    summary="train again when Alertmanager says that a model's drift persists",
    add_flags=_add_flags,
    run=_run,
    process="retraining",
    misuses=(ChallengeError,),
    failures=(OSError,),
    serves=True,
)
main = RETRAINING.main


if __name__ == "__main__":
    sys.exit(main())
