"""Train again when Alertmanager says that a model's drift persists.

``python -m deploy.retraining [options] [-- COMMAND ...]``
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.retraining.receiver import PATH, Receiver
from deploy.retraining.training import MODELS_VARIABLE, Training

_TRAIN = (sys.executable, "scripts/train_models.py")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    token = arguments.token_file and arguments.token_file.read_text().strip()
    if token == "":
        sys.stderr.write(f"retraining: {arguments.token_file} is empty\n")
        return 2
    training = Training(
        arguments.command or _TRAIN,
        lock=arguments.state_dir / "retraining.lock",
        cooldown_seconds=arguments.cooldown,
        timeout_seconds=arguments.timeout,
    )
    with Receiver((arguments.host, arguments.port), training, token) as receiver:
        host, port = receiver.server_address[:2]
        sys.stdout.write(f"retraining on drift at http://{host!s}:{port}{PATH}\n")
        sys.stdout.flush()
        try:
            receiver.serve_forever()
        except KeyboardInterrupt:
            training.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.retraining",
        description="Train again when Alertmanager says that a model's drift persists.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9095)
    parser.add_argument(
        "--token-file", type=Path, help="holds what Alertmanager must show as bearer token"
    )
    parser.add_argument("--state-dir", type=Path, default=Path("var"), help="of lock and cool-down")
    parser.add_argument(
        "--cooldown", type=float, default=86_400.0, help="seconds from one training to the next"
    )
    parser.add_argument(
        "--timeout", type=float, default=14_400.0, help="seconds that a training may take"
    )
    parser.add_argument(
        "command",
        nargs="*",
        help=f"what trains (default: scripts/train_models.py); {MODELS_VARIABLE} names the models",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
