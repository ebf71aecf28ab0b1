"""The command ``train_models.py``: from click logs to model folders."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from service.command_line import Command, ExitStatus, UsageError, add_json
from service.logs import say
from service.prediction.model import MODEL_NAME, ModelBundle
from service.prediction.model_folder import ModelFolderError, load_bundle, write_bundle
from service.training.click_log import ClickLog, TrainingError
from service.training.device import require_device
from service.training.evaluation import quality_table
from service.training.log_files import read_click_log
from service.training.pipeline import Trained, train
from service.training.simulation import simulate

DEFAULT_ROWS = 200_000


def _run(arguments: argparse.Namespace) -> int:
    require_device(arguments.device)
    kinds = _kinds(arguments.output, arguments.write_as)
    log, description = _log(arguments.data, rows=arguments.rows, seed=arguments.seed)
    say(f"training on {description}", to=sys.stderr if arguments.json else sys.stdout)
    trained = train(
        log,
        data_description=description,
        created_at=datetime.now(UTC),
        device=arguments.device,
        seed=arguments.seed,
    )
    bundles = _named(trained.bundles, kinds)
    folders = [write_bundle(arguments.output, bundle) for bundle in bundles]
    if arguments.json:
        sys.stdout.write(f"{json.dumps(_summary(description, trained, bundles, folders))}\n")
    else:
        sys.stdout.write(_report(trained, folders))
    return ExitStatus.DONE


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
        raise UsageError("--rows is for the simulated log; leave it out with --data")
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


def _summary(
    description: str,
    trained: Trained,
    bundles: Sequence[ModelBundle],
    folders: Sequence[Path],
) -> Mapping[str, object]:
    metadata = trained.bundles[0].metadata
    return {
        "data": description,
        "train_rows": metadata.train_rows,
        "validation_rows": metadata.validation_rows,
        "models": [
            {
                "model_name": bundle.name,
                "model_version": bundle.version,
                "kind": bundle.model.kind,
                "folder": str(folder),
                "validation_metrics": bundle.metadata.validation_metrics,
            }
            for bundle, folder in zip(bundles, folders, strict=True)
        ],
    }


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="click logs: .csv, .csv.gz or .parquet (default: a built-in simulated log)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="what computes (%(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("models"),
        metavar="DIR",
        help="gets a folder for each model (%(default)s)",
    )
    parser.add_argument(
        "--rows",
        type=_positive,
        metavar="N",
        help=f"rows of the simulated log (default: {DEFAULT_ROWS})",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of all random choices; the same gives the same models (%(default)s)",
    )
    parser.add_argument(
        "--write-as",
        type=_names,
        metavar="MODEL=NAME[,...]",
        help="write only what MODEL is, trained anew, and under another NAME: its challenger",
    )
    add_json(parser)


TRAIN = Command(
    name="python scripts/train_models.py",
    summary="train the CTR models and write one folder for each",
    add_flags=_add_flags,
    run=_run,
    process="train",
    failures=(TrainingError, ModelFolderError, OSError),
)
main = TRAIN.main


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
