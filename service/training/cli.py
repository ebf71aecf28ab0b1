"""The command ``train_models.py``: from click logs to model folders."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from service.prediction.model_folder import write_bundle
from service.training.click_log import ClickLog, TrainingError
from service.training.evaluation import quality_table
from service.training.fit import require_device
from service.training.log_files import read_click_log
from service.training.pipeline import Trained, train
from service.training.simulation import simulate

DEFAULT_ROWS = 200_000
BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the models; return the exit code, 2 when nothing was written."""
    arguments = _parser().parse_args(argv)
    try:
        require_device(arguments.device)
        log, description = _log(arguments.data, rows=arguments.rows, seed=arguments.seed)
        sys.stdout.write(f"training on {description}\n")
        sys.stdout.flush()
        trained = train(
            log,
            data_description=description,
            created_at=datetime.now(UTC),
            device=arguments.device,
            seed=arguments.seed,
        )
        folders = [write_bundle(arguments.output, bundle) for bundle in trained.bundles]
    except (TrainingError, OSError) as error:
        sys.stderr.write(f"train_models: {error}\n")
        return BAD_INPUT
    sys.stdout.write(_report(trained, folders))
    return 0


def _log(paths: Sequence[Path] | None, *, rows: int | None, seed: int) -> tuple[ClickLog, str]:
    if paths is None:
        log = simulate(rows or DEFAULT_ROWS, seed=seed).log
        source = f"the built-in SIMULATED click log, seed {seed}"
    elif rows is not None:
        raise TrainingError("--rows is for the simulated log; leave it out with --data")
    else:
        log = read_click_log(paths)
        source = ", ".join(path.name for path in paths)
    return log, f"{source}: {len(log):,} rows, CTR {log.ctr:.3%}"


def _report(trained: Trained, folders: Sequence[Path]) -> str:
    metadata = trained.bundles[0].metadata
    return "\n".join(
        [
            f"on the last {metadata.validation_rows:,} rows, by models that had not seen them:",
            "",
            quality_table(trained.qualities),
            "",
            "normalised entropy: below 1 beats a constant; calibration: mean prediction / CTR",
            f"fitted again on all {metadata.train_rows:,} rows, and written:",
            *(f"  {folder}" for folder in folders),
            "",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train_models.py",
        description="Train the CTR models and write one folder for each.",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="click logs: .csv, .csv.gz or .parquet (default: a built-in simulated log)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("models"), metavar="DIR")
    parser.add_argument(
        "--rows", type=_positive, help=f"rows of the simulated log (default: {DEFAULT_ROWS})"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number
