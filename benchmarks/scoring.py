"""`python -m service score` beside XGBoost's own batch predictor on the finished matrix.

The model has 300 trees of depth 6. The log is simulated, and every million of its rows brings new
users. Both use all cores; runs alternate, and each pair is a ratio of its own. The time of the
command is that of the whole process; what it needs to start is measured on a short log and
subtracted.

With ``--logs`` real ones: a model learns from the earlier half of each, and the later half is
encoded and scored, in process and on one core, beside the predictor alone on the finished matrix.
"""

import argparse
import gzip
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from statistics import median
from typing import BinaryIO, NamedTuple, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from numpy.typing import NDArray

from service.prediction.features import FeatureEncoder
from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.model_folder import write_bundle
from service.prediction.model_kinds import XGBoostModel
from service.scoring.column_encoding import ColumnEncoder
from service.scoring.predicting import cores, prediction_of
from service.training.click_log import ClickLog, split_by_time
from service.training.encoding import fit_encoder
from service.training.log_files import read_click_log
from service.training.pipeline import train
from service.training.simulation import simulate

TREES, DEPTH = 300, 6
_MUST = 0.8
"""Least speed beside the predictor alone, with Parquet."""
_TRAINING_ROWS = 200_000
_SIMULATED_AT_ONCE = 1_000_000
_MATRIX_ROWS = 500_000
_SHORT = 1_000
_ROUNDS = 9
"""In process."""
_MIB = 1 << 20


class Used(NamedTuple):
    """What a run took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int = 0

    def __sub__(self, start: Self) -> Self:
        return type(self)(
            self.seconds - start.seconds, self.cpu_seconds - start.cpu_seconds, self.peak_bytes
        )


@dataclass(frozen=True)
class Files:
    """What the command is given."""

    models: Path
    log: Path
    short: Path
    output: Path


def main() -> int:
    """Print the table; exit status 1 where the command is slower than it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--logs", type=Path, nargs="+", default=())
    flags = parser.parse_args()
    if flags.logs:
        return _compare_on_real_logs(flags.logs)
    print(
        f"{platform.machine()}, {cores()} cores, XGBoost {xgb.__version__}, pyarrow "
        f"{pa.__version__}; {TREES} trees of depth {DEPTH}, {flags.rows:,} rows\n"
    )
    print(
        "| log | scores | rows/s | CPU us/row | predictor alone: rows/s | CPU us/row "
        "| ratio of time | of CPU | start s | peak MiB |"
    )
    print("|" + " --- |" * 10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        booster, encoder = _write_model(folder / "models")
        matrix = ColumnEncoder(encoder).encode(simulate(_MATRIX_ROWS, seed=1000).log)
        ratios = []
        for log, scores in ((".parquet", ".parquet"), (".csv", ".csv"), (".csv.gz", ".csv.gz")):
            files = Files(
                models=folder / "models",
                log=folder / f"log{log}",
                short=folder / f"short{log}",
                output=folder / f"scores{scores}",
            )
            _write_log(files.log, flags.rows)
            _write_log(files.short, _SHORT)
            ratios.append(_measure(files, booster, matrix, rows=flags.rows, runs=flags.runs))
            files.log.unlink()
    return 0 if ratios[0] >= _MUST else 1


def _compare_on_real_logs(paths: Sequence[Path]) -> int:
    print("| log | rows scored | alike another | ratio of CPU | lowest to highest |")
    print("|" + " --- |" * 5)
    for path in paths:
        log = read_click_log([path])
        earlier, later = split_by_time(log, later_share=0.5)
        encoder = fit_encoder(earlier)
        columns = ColumnEncoder(encoder)
        booster = _fit(columns.encode(earlier), earlier, encoder, threads=1)
        predict = prediction_of(XGBoostModel(booster.copy()), "cpu")
        matrix = columns.encode(later)
        alike = 1 - len(np.unique(matrix, axis=0)) / len(matrix)
        ratios = []
        for _ in range(_ROUNDS):
            began = time.thread_time()
            predict(columns.encode(later))
            between = time.thread_time()
            booster.inplace_predict(matrix, validate_features=False)
            ratios.append((time.thread_time() - between) / (between - began))
        print(
            f"| {path.name} | {len(later):,} | {alike:.0%} | {median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} |"
        )
    return 0


def _measure(
    files: Files, booster: xgb.Booster, matrix: NDArray[np.float32], *, rows: int, runs: int
) -> float:
    start = _least([_command(files, files.short) for _ in range(3)])
    pairs = [
        (_command(files, files.log) - start, _alone(booster, matrix, rows)) for _ in range(runs)
    ]
    ratio, cpu_ratio = (median(alone[i] / command[i] for command, alone in pairs) for i in (0, 1))
    command, alone = (_least(used) for used in zip(*pairs, strict=True))
    print(
        f"| {files.log.name} | {files.output.name} | {rows / command.seconds:,.0f} "
        f"| {command.cpu_seconds / rows * 1e6:.2f} | {rows / alone.seconds:,.0f} "
        f"| {alone.cpu_seconds / rows * 1e6:.2f} | {ratio:.2f} | {cpu_ratio:.2f} "
        f"| {start.seconds:.1f} | {max(c.peak_bytes for c, _ in pairs) / _MIB:.0f} |",
        flush=True,
    )
    return ratio


def _least(runs: Sequence[Used]) -> Used:
    """What other programs added to least."""
    return Used(*map(min, zip(*runs, strict=True)))


def _command(files: Files, log: Path) -> Used:
    command = [sys.executable, "-m", "service", "score", "--models-dir", str(files.models)]
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--data", str(log), "--output", str(files.output)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"scoring {log} failed")
    return Used(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _alone(booster: xgb.Booster, matrix: NDArray[np.float32], rows: int) -> Used:
    """Score as many rows with ``inplace_predict``, again and again the same ones."""
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, rows, len(matrix)):
        booster.inplace_predict(matrix[: rows - start], validate_features=False)
    return Used(time.perf_counter() - began, time.process_time() - cpu)


def _write_model(models_dir: Path) -> tuple[xgb.Booster, FeatureEncoder]:
    log = simulate(_TRAINING_ROWS, seed=0).log
    created = datetime(2026, 1, 1, tzinfo=UTC)
    bundle = train(log[:20_000], data_description="simulated", created_at=created).bundles[0]
    encoder = fit_encoder(log)
    booster = _fit(ColumnEncoder(encoder).encode(log), log, encoder, threads=cores())
    model = XGBoostModel(booster.copy())
    write_bundle(models_dir, replace(bundle, model=model, encoder=encoder))
    return booster, encoder


def _fit(
    features: NDArray[np.float32], log: ClickLog, encoder: FeatureEncoder, *, threads: int
) -> xgb.Booster:
    matrix = xgb.DMatrix(features, label=log.click, feature_names=list(encoder.names))
    parameters = {"objective": "binary:logistic", "max_depth": DEPTH, "eta": 0.05}
    return xgb.train(parameters | {"nthread": threads}, matrix, TREES)


def _tables(rows: int) -> Iterator[pa.Table]:
    for start in range(0, rows, _SIMULATED_AT_ONCE):
        yield _table(
            simulate(min(_SIMULATED_AT_ONCE, rows - start), seed=1 + start).log, prefix=f"{start:x}"
        )


def _table(log: ClickLog, *, prefix: str) -> pa.Table:
    return pa.table(
        {
            "user_id": [f"{prefix}{user}" for user in log.user_id.to_list()],
            "ad_id": log.ad_id.to_list(),
            "device": log.device.to_list(),
            "placement": log.placement.to_list(),
            "hour": log.hour,
            "day_of_week": log.day_of_week,
            "click": log.click.astype(np.int8),
            "timestamp": log.timestamp,
        }
    )


def _write_log(path: Path, rows: int) -> None:
    tables = _tables(rows)
    first = next(tables)
    with ExitStack() as opened:
        writer: pa_parquet.ParquetWriter | pa_csv.CSVWriter
        if path.suffix == ".parquet":
            writer = opened.enter_context(pa_parquet.ParquetWriter(path, first.schema))
        else:
            file = opened.enter_context(_text(path))
            writer = opened.enter_context(pa_csv.CSVWriter(file, first.schema))
        for table in chain([first], tables):
            writer.write_table(table)


def _text(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "wb", compresslevel=1))
    return path.open("wb")


if __name__ == "__main__":
    sys.exit(main())
