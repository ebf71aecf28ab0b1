"""Train the CTR models: ``python scripts/train_models.py --help``."""

import sys
from pathlib import Path

# Started by path, Python puts scripts/ on the path and not the repository, where `service` is.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from service.training.cli import main

if __name__ == "__main__":
    sys.exit(main())
