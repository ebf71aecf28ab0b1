"""`python -m service score`: a click log in, its scores out, and a baseline where one is wanted."""

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from service.command_line import Command, ExitStatus, add_json
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
from service.progress import progress_of
from service.scoring.log_chunks import LogChunks
from service.scoring.new_baseline import with_baseline_of
from service.scoring.predicting import ScoringError, cores, prediction_of
from service.scoring.score import Scored, Scorer, Totals
from service.scoring.scores_file import Write, scores_file
from service.scoring.whole_file import written_whole
from service.settings import InvalidSettingsError, Settings
from service.training.click_log import LogError
from service.training.log_files import SUFFIXES


def _run(flags: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    for path in (flags.output, flags.baseline):
        if path is not None and path.resolve() in [log.resolve() for log in flags.data]:
            raise ScoringError(f"{path} is the log itself; name another file to write")
    models_dir = flags.models_dir or settings.models_dir
    bundle = _bundle(models_dir, flags.model, flags.version)
    describes = flags.baseline is not None or flags.as_new_version
    predict = prediction_of(bundle.model, flags.device)
    log = LogChunks.open(flags.data, with_time=describes)
    scorer = Scorer(bundle.encoder, predict, with_behaviour=describes)
    written = None
    with (
        scores_file(flags.output, with_clicks=log.with_clicks) as write,
        nullcontext() if flags.baseline is None else written_whole(flags.baseline) as document,
    ):
        totals = _write_all(_shown(scorer.score_all(log, threads=cores()), log.rows), write)
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
                written = write_bundle(models_dir, described)
    if flags.json:
        print(json.dumps(_summary(flags, bundle, totals, written)))
    else:
        print(_report(bundle, totals, written))
    return ExitStatus.DONE


def _report(bundle: ModelBundle, totals: Totals, written: Path | None) -> str:
    scored = (
        f"{totals.rows:,} rows scored by {bundle.name} {bundle.version}, "
        f"mean predicted CTR {totals.mean_prediction:.3%}"
    )
    if totals.clicks is not None:
        scored += f", CTR {totals.clicks / totals.rows:.3%}"
    return scored if written is None else f"{scored}\nwritten: {written}"


def _summary(
    flags: argparse.Namespace, bundle: ModelBundle, totals: Totals, written: Path | None
) -> Mapping[str, object]:
    return {
        "output": str(flags.output),
        "model_name": bundle.name,
        "model_version": bundle.version,
        "rows": totals.rows,
        "mean_prediction": totals.mean_prediction,
        "clicks": totals.clicks,
        "baseline": None if flags.baseline is None else str(flags.baseline),
        "new_version": None if written is None else str(written),
    }


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
    with progress_of("scoring", "row", total=rows) as bar:
        for scored in scores:
            yield scored
            bar.update(len(scored.predictions))


def _write_all(scores: Iterable[Scored], write: Write) -> Totals:
    totals = Totals()
    for scored in scores:
        write(scored.predictions, scored.clicks)
        totals = totals.with_chunk(scored)
    return totals


def _add_flags(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--version", metavar="VERSION", help="one that is kept, instead of the current one"
    )
    parser.add_argument(
        "--models-dir", type=Path, metavar="DIR", help="CTR_MODELS_DIR, or else models"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="what computes (%(default)s)"
    )
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
    add_json(parser)


def _named_as_a_log(text: str) -> Path:
    if not text.endswith(SUFFIXES):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(SUFFIXES)}")
    return Path(text)


SCORE = Command(
    name="python -m service score",
    summary="score every row of a click log, of any length, as the service would",
    add_flags=_add_flags,
    run=_run,
    process="score",
    epilog="The log has the columns that training needs, but may lack the clicks.",
    misuses=(InvalidSettingsError,),
    failures=(LogError, ModelFolderError, OSError, ScoringError),
)
