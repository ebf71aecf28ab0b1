"""The command `python -m service score` as a user runs it."""

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest
from model_versions import next_version
from numpy.typing import NDArray
from service_process import ROOT, running_service

from service.monitoring.baseline import Baseline
from service.prediction.model_folder import load_bundle
from service.training.baseline import baseline_of
from service.training.click_log import ClickLog
from service.training.log_files import read_click_log
from service.training.simulation import simulate

pytestmark = pytest.mark.integration

SCORE = (sys.executable, "-m", "service", "score")
FAILED = 1
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
MIB = 1 << 20


def score(models: Path, *flags: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SCORE, *map(str, ("--models-dir", models, *flags))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def table_of(log: ClickLog) -> pa.Table:
    ids = {n: getattr(log, n).to_list() for n in ("user_id", "ad_id", "device", "placement")}
    return pa.table(
        {
            **ids,
            "hour": log.hour,
            "day_of_week": log.day_of_week,
            "click": log.click.astype(np.int8),
            "timestamp": log.timestamp,
        }
    )


def online(models: Path, model: str, log: ClickLog) -> NDArray[np.float64]:
    """What the service answers, request by request in one batch."""
    bundle = load_bundle(models / model)
    return bundle.model.predict(bundle.encoder.encode(log.requests()))


@pytest.fixture(scope="module")
def log_files(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """The same log as CSV.gz and as Parquet."""
    folder = tmp_path_factory.mktemp("logs")
    table = table_of(simulate(30_000, seed=7).log)
    pa_parquet.write_table(table, folder / "log.parquet")
    plain = folder / "log.csv"
    pa_csv.write_csv(table, plain)
    (folder / "log.csv.gz").write_bytes(gzip.compress(plain.read_bytes(), compresslevel=1))
    return folder / "log.csv.gz", folder / "log.parquet"


@pytest.mark.parametrize("model", ["xgboost", "logistic"])
def test_files_of_every_kind_get_the_scores_that_the_service_gives(
    models_dir: Path, log_files: Sequence[Path], tmp_path: Path, model: str
) -> None:
    expected = online(models_dir, model, read_click_log(log_files[:1]))
    clicks = read_click_log(log_files[1:]).click.astype(int).tolist()
    outputs = [tmp_path / f"scores{suffix}" for suffix in (".csv", ".csv.gz", ".parquet")]

    for log, output in zip((*log_files, log_files[0]), outputs, strict=True):
        done = score(models_dir, "--data", log, "--output", output, "--model", model)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"30,000 rows scored by {model}" in done.stdout

    for text in (outputs[0].read_text(), gzip.decompress(outputs[1].read_bytes()).decode()):
        rows = list(csv.DictReader(text.splitlines()))
        assert [float(row["predicted_ctr"]) for row in rows] == expected.tolist()
        assert [int(row["click"]) for row in rows] == clicks
    table = pa_parquet.read_table(outputs[2])
    assert table["predicted_ctr"].to_pylist() == expected.tolist()
    assert table["click"].to_pylist() == clicks


def test_an_older_version_scores_when_it_is_named(
    models_dir: Path, log_files: Sequence[Path], tmp_path: Path
) -> None:
    models, output = tmp_path / "models", tmp_path / "scores.parquet"
    shutil.copytree(models_dir, models)
    old = load_bundle(models / "logistic").version
    expected = online(models, "logistic", read_click_log(log_files[1:]))
    next_version(models)

    done = score(
        *(models, "--data", log_files[1], "--output", output),
        *("--model", "logistic", "--version", old, "--json"),
    )

    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["model_name"], told["model_version"]) == ("logistic", old)
    assert (told["rows"], told["new_version"]) == (len(expected), None)
    assert told["mean_prediction"] == pytest.approx(expected.mean())
    assert pa_parquet.read_table(output)["predicted_ctr"].to_pylist() == expected.tolist()


def test_a_baseline_from_a_log_is_served_with_the_new_version(
    models_dir: Path, log_files: Sequence[Path], tmp_path: Path
) -> None:
    models, document = tmp_path / "models", tmp_path / "baseline.json"
    shutil.copytree(models_dir, models)
    before = load_bundle(models / "xgboost")
    log = read_click_log(log_files[:1])
    with (
        running_service(tmp_path / "state", models) as service,
        service.client() as client,
    ):
        done = score(
            models,
            *("--data", *log_files[:1], "--output", tmp_path / "scores.csv"),
            *("--baseline", document, "--as-new-version"),
        )
        assert (done.returncode, done.stderr) == (0, "")
        [loaded] = client.post("/models/reload", json={"model_name": "xgboost"}).json()["loaded"]
        served = client.get("/monitoring/baseline/xgboost").json()

    after = load_bundle(models / "xgboost")
    trained = baseline_of(
        online(models, "xgboost", log),
        log,
        judged=before.encoder,
        shipped=before.encoder,
        model_name="xgboost",
        model_version=after.version,
        created_at=after.baseline.created_at,
    )
    assert loaded["previous_version"] == before.version
    assert loaded["version"] == served["model_version"] == after.version
    assert served["observations"] == len(log)
    assert served["mean_prediction"] == pytest.approx(trained.mean_prediction, rel=1e-12)
    assert served["std_prediction"] == pytest.approx(trained.std_prediction, rel=1e-9)
    assert after.model.to_bytes() == before.model.to_bytes()
    assert Baseline.from_json(document.read_text()).to_json() == after.baseline.to_json()
    for feature, distribution in after.baseline.features.items():
        assert distribution.to_json() == trained.features[feature].to_json()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--model", "nobody"), "no model 'nobody'; there are logistic, xgboost"),
        (("--version", "20200101T000000Z-000000"), "no version '20200101T000000Z-000000'; it has"),
        (("--models-dir", "nowhere"), "nowhere holds no model"),
        (("--model", "logistic", "--device", "cuda"), "a logistic model needs the CPU"),
        (("--baseline", "no/such/folder/b.json"), "no/such/folder"),
        (("--data", "none.csv"), "none.csv does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_written(
    models_dir: Path,
    log_files: Sequence[Path],
    tmp_path: Path,
    flags: tuple[str, ...],
    message: str,
) -> None:
    output = tmp_path / "scores.csv"

    done = score(models_dir, "--data", log_files[1], "--output", output, *flags)

    assert done.returncode == FAILED
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu_cuda_is_refused(
    models_dir: Path, log_files: Sequence[Path], tmp_path: Path
) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there may be a GPU here")
    flags = ("--data", log_files[1], "--output", tmp_path / "scores.csv", "--device", "cuda")

    done = score(models_dir, *flags)

    assert done.returncode == FAILED
    assert "--device cuda" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bad_row_leaves_the_old_scores_and_nothing_else(models_dir: Path, tmp_path: Path) -> None:
    lines = ["user_id,ad_id,device,placement,hour,day_of_week", *["u,a,tv,p,5,6"] * 2_000]
    lines[1_500] = "u,a,tv,p,5,"
    log, output = tmp_path / "log.csv", tmp_path / "scores.csv"
    log.write_text("\n".join(lines))
    output.write_text("old")

    done = score(models_dir, "--data", log, "--output", output)

    assert done.returncode == FAILED
    assert f"{log}, row 1500 after the header: day_of_week is None" in done.stderr
    assert output.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [log, output]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_in_the_middle_leaves_the_old_scores(
    models_dir: Path, tmp_path: Path, how: signal.Signals
) -> None:
    log, output = tmp_path / "log.parquet", tmp_path / "out" / "scores.parquet"
    _write_times(40, log)
    output.parent.mkdir()
    output.write_text("old")
    flags = ("--models-dir", models_dir, "--data", log, "--output", output)

    running = subprocess.Popen(
        [*SCORE, *map(str, flags)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while not any(path.stat().st_size for path in output.parent.glob(".*")):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(how)

    _, told = running.communicate(timeout=60)
    assert running.returncode == STOPPED[how]
    expected = "python -m service score: error: stopped before it was done\n"
    assert told == (expected if how == signal.SIGINT else "")
    assert output.read_text() == "old"
    if how != signal.SIGKILL:
        assert list(output.parent.iterdir()) == [output]


def _write_times(times: int, path: Path) -> None:
    """Write a log of so many times the same 100,000 rows."""
    table = table_of(simulate(100_000, seed=8).log)
    with pa_parquet.ParquetWriter(path, table.schema) as writer:
        for _ in range(times):
            writer.write_table(table)


def test_memory_does_not_grow_with_the_log(models_dir: Path, tmp_path: Path) -> None:
    peaks = []
    for times in (2, 12):
        path = tmp_path / f"{times}.parquet"
        _write_times(times, path)
        peaks.append(_peak_memory(models_dir, path, tmp_path / "scores.parquet"))

    print(f"peak memory: {peaks[0] / MIB:.0f} MiB, {peaks[1] / MIB:.0f} MiB of six times the rows")
    # The million rows more are 80 MB of features, and as much again as text.
    assert peaks[1] - peaks[0] < 60 * MIB


def _peak_memory(models: Path, log: Path, output: Path) -> int:
    flags = ("--models-dir", models, "--data", log, "--output", output)
    running = subprocess.Popen([*SCORE, *flags], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0
    return usage.ru_maxrss * 1024
