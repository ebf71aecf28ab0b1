"""The command ``train_models.py``: from click logs to model folders."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from service.prediction.model import MODEL_NAME, ModelBundle
from service.prediction.model_folder import ModelFolderError, load_bundle, write_bundle
from service.training.click_log import ClickLog, TrainingError
from service.training.device import require_device
from service.training.evaluation import quality_table
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
        kinds = _kinds(arguments.output, arguments.write_as)
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
        folders = [
            write_bundle(arguments.output, bundle) for bundle in _named(trained.bundles, kinds)
        ]
    except (TrainingError, ModelFolderError, OSError) as error:
        sys.stderr.write(f"train_models: {error}\n")
        return BAD_INPUT
    sys.stdout.write(_report(trained, folders))
    return 0


def _kinds(models_dir: Path, names: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Kind of model by the name that it is to be written under; None for the usual names."""
    if names is None:
        return None
    return {new: load_bundle(models_dir / old).model.kind for old, new in names.items()}


def _named(
    bundles: Sequence[ModelBundle], kinds: Mapping[str, str] | None
) -> Sequence[ModelBundle]:
    if kinds is None:
        return bundles
    by_kind = {bundle.model.kind: bundle for bundle in bundles}
    return [
        replace(bundle, name=name, baseline=replace(bundle.baseline, model_name=name))
        for name, kind in kinds.items()
        for bundle in (by_kind[kind],)
    ]


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
    parser.add_argument(
        "--write-as",
        type=_names,
        metavar="MODEL=NAME[,...]",
        help="write only what MODEL is, trained anew, and under another NAME: its challenger",
    )
    return parser


def _names(text: str) -> Mapping[str, str]:
    names = dict(pair.split("=", maxsplit=1) for pair in text.split(",") if "=" in pair)
    wrong = [name for pair in names.items() for name in pair if not MODEL_NAME.fullmatch(name)]
    if not names or wrong or len(names) != len(text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not like xgboost=xgboost_challenger")
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number
