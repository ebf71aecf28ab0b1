"""`python -m service score`: a click log in, its scores out, and a baseline where one is wanted."""

import argparse
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from service.prediction.experiment import Experiment
from service.prediction.model import ModelBundle
from service.prediction.model_folder import (
    ModelFolderError,
    current_version,
    load_version,
    model_folders,
    versions_of,
    write_bundle,
)
from service.scoring.log_chunks import LogChunks
from service.scoring.new_baseline import with_baseline_of
from service.scoring.predicting import ScoringError, cores, prediction_of
from service.scoring.score import Scored, Scorer, Totals
from service.scoring.scores_file import Write, scores_file
from service.scoring.whole_file import written_whole
from service.settings import InvalidSettingsError, Settings
from service.training.click_log import LogError
from service.training.log_files import SUFFIXES

_CANNOT_SCORE = (InvalidSettingsError, LogError, ModelFolderError, OSError, ScoringError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; returns the exit status, 2 when nothing was written."""
    flags = _parser().parse_args(arguments)
    # It then ends as by Ctrl-C, and removes what is unfinished.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _score(flags, Settings.from_environment(os.environ))
    except _CANNOT_SCORE as error:
        print(f"cannot score: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _score(flags: argparse.Namespace, settings: Settings) -> None:
    for path in (flags.output, flags.baseline):
        if path is not None and path.resolve() in [log.resolve() for log in flags.data]:
            raise ScoringError(f"{path} is the log itself; name another file to write")
    models_dir = flags.models_dir or settings.models_dir
    bundle = _bundle(models_dir, flags.model, flags.version)
    describes = flags.baseline is not None or flags.as_new_version
    predict = prediction_of(bundle.model, flags.device)
    log = LogChunks.open(flags.data, with_time=describes)
    scorer = Scorer(bundle.encoder, predict, with_behaviour=describes)
    with (
        scores_file(flags.output, with_clicks=log.with_clicks) as write,
        nullcontext() if flags.baseline is None else written_whole(flags.baseline) as document,
    ):
        totals = _write_all(_shown(scorer.score_all(log, threads=cores()), log.rows), write)
        report = _report(bundle, totals)
        if totals.behaviour is not None:
            described = with_baseline_of(
                totals.behaviour,
                bundle,
                flags.data,
                settings=settings,
                created_at=datetime.now(UTC),
                as_new_version=flags.as_new_version,
            )
            if document is not None:
                document.write_text(f"{described.baseline.to_json()}\n", encoding="utf-8")
            if flags.as_new_version:
                report += f"\nwritten: {write_bundle(models_dir, described)}"
    print(report)


def _report(bundle: ModelBundle, totals: Totals) -> str:
    scored = (
        f"{totals.rows:,} rows scored by {bundle.name} {bundle.version}, "
        f"mean predicted CTR {totals.mean_prediction:.3%}"
    )
    if totals.clicks is None:
        return scored
    return f"{scored}, CTR {totals.clicks / totals.rows:.3%}"


def _bundle(models_dir: Path, model: str | None, version: str | None) -> ModelBundle:
    folders = {folder.name: folder for folder in model_folders(models_dir)}
    if model is None:
        [model] = Experiment.of_one(list(folders)).weights
    if model not in folders:
        raise ScoringError(f"there is no model {model!r}; there are {', '.join(folders)}")
    folder = folders[model]
    if version is None:
        version = current_version(folder)
    if version not in versions_of(folder):
        kept = ", ".join(versions_of(folder))
        raise ScoringError(f"{model} has no version {version!r}; it has {kept}")
    return load_version(folder, version)


def _shown(scores: Iterator[Scored], rows: int | None) -> Iterator[Scored]:
    """Move a bar, where a terminal shows one."""
    with tqdm(desc="scoring", total=rows, unit="row", unit_scale=True, disable=None) as bar:
        for scored in scores:
            yield scored
            bar.update(len(scored.predictions))


def _write_all(scores: Iterable[Scored], write: Write) -> Totals:
    totals = Totals()
    for scored in scores:
        write(scored.predictions, scored.clicks)
        totals = totals.with_chunk(scored)
    return totals


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service score",
        description="Score every row of a click log, of any length, as the service would.",
        epilog="The log has the columns that training needs, but may lack the clicks.",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        required=True,
        metavar="FILE",
        help="click logs: .csv, .csv.gz or .parquet",
    )
    parser.add_argument(
        "--output",
        type=_named_as_a_log,
        required=True,
        metavar="FILE",
        help="gets predicted_ctr, and click where the log has it, a row for each row: "
        ".csv, .csv.gz or .parquet",
    )
    parser.add_argument("--model", metavar="NAME", help="xgboost, or the first there is")
    parser.add_argument("--version", help="one that is kept, instead of the current one")
    parser.add_argument(
        "--models-dir", type=Path, metavar="DIR", help="CTR_MODELS_DIR, or else models"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="also write the model's baseline on these rows, as JSON",
    )
    parser.add_argument(
        "--as-new-version",
        action="store_true",
        help="also write the model again, as a new version that has this baseline; "
        "POST /models/reload then serves it",
    )
    return parser


def _named_as_a_log(text: str) -> Path:
    if not text.endswith(SUFFIXES):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(SUFFIXES)}")
    return Path(text)
