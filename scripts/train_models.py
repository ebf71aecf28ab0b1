"""Train the CTR models: ``python scripts/train_models.py --help``."""

import sys
from pathlib import Path

# Started by path, from any folder: the packages are beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from service.command_line import Command, start


def _load() -> Command:
    from service.training.cli import TRAIN  # noqa: PLC0415 - once it is known that it runs

    return TRAIN


if __name__ == "__main__":
    sys.exit(start(_load))
