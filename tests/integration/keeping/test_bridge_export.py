"""The history is exported: a row for each window, whole files or none."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kept_history import (
    DAYS_BACK,
    MARKS,
    MODELS,
    NAMING,
    WINDOWS_A_DAY,
    Kept,
    Told,
    slots,
)
from pyarrow import parquet
from service_process import ROOT

pytestmark = MARKS


def cells(file: Path) -> Sequence[Mapping[str, str]]:
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def test_an_export_has_one_row_for_each_window(
    kept: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    output = tmp_path / "history.csv"

    assert bridge(kept, "export", "--days", 5, "--format", "csv", "--output", output, "--json") == 0

    told = json.loads(capsys.readouterr().out)
    rows = cells(output)
    assert told["rows"] == len(rows) == len(MODELS) * WINDOWS_A_DAY
    assert told["runs"] == 2
    assert list(rows[0]) == [
        *("run_name", "model_name", "model_version", "arm", "source", "day"),
        *("step", "window_start", "window_end"),
        *("avg_latency_ms", "error_rate", "requests_in_window"),
    ]
    row = next(row for row in rows if row["model_name"] == "xgboost")
    slot = slots(2)[0]
    start = datetime.fromtimestamp(slot.start, tz=UTC)
    assert row == {
        "run_name": NAMING.of_day("xgboost", "v1", slot).name,
        "model_name": "xgboost",
        "model_version": "v1",
        "arm": "none:xgboost",
        "source": "instance:host1",
        "day": slot.day,
        "step": str(slot.number),
        "window_start": f"{start:%Y-%m-%dT%H:%M:%S}Z",
        "window_end": f"{start + timedelta(minutes=5):%Y-%m-%dT%H:%M:%S}Z",
        "avg_latency_ms": repr(1 / 3),
        "error_rate": repr(slot.number / 7),
        "requests_in_window": "3.0",
    }


def test_a_missing_number_is_empty_or_null_and_never_zero(
    kept: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    for name in ("csv", "parquet"):
        output = tmp_path / name
        assert bridge(kept, "export", "--days", 50, "--format", name, "--output", output) == 0

    as_csv = cells(tmp_path / "csv")
    as_parquet = parquet.read_table(tmp_path / "parquet").to_pylist()
    assert len(as_csv) == len(as_parquet) == len(MODELS) * len(DAYS_BACK) * WINDOWS_A_DAY + 1
    for text, typed in zip(as_csv, as_parquet, strict=True):
        for name in ("avg_latency_ms", "error_rate", "requests_in_window"):
            assert typed[name] == (float(text[name]) if text[name] else None)
        assert f"{typed['window_end']:%Y-%m-%dT%H:%M:%S}Z" == text["window_end"]
        assert str(typed["day"]) == text["day"]
    second = next(row for row in as_parquet if row["step"] == slots(2)[1].number)
    assert second["avg_latency_ms"] is None
    [not_a_number] = [row for row in as_csv if row["run_name"] == "still running"]
    assert not_a_number["error_rate"] == ""


def test_an_export_can_be_of_one_model_and_says_what_models_there_are(
    kept: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    output = tmp_path / "history.csv"
    command = ("export", "--days", 5, "--format", "csv", "--output", output, "--model")

    assert bridge(kept, *command, "logistic") == 0
    assert {row["model_name"] for row in cells(output)} == {"logistic"}

    assert bridge(kept, *command, "unheard-of") == 1
    assert "there are runs of logistic, xgboost" in capsys.readouterr().err
    assert {row["model_name"] for row in cells(output)} == {"logistic"}


def test_without_a_history_nothing_is_made(
    bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    nowhere = Kept(tmp_path, f"sqlite:///{tmp_path}/none.db", tmp_path / "var" / "state.db")

    for command in (
        ("export", "--days", 5, "--format", "csv", "--output", tmp_path / "o.csv"),
        ("backup", "--output", tmp_path / "backups"),
        ("archive", "--older-than", 5, "--output", tmp_path / "archive"),
    ):
        assert bridge(nowhere, *command) == 1
        assert "none.db does not exist" in capsys.readouterr().err

    assert list(tmp_path.glob("*.db")) == []


def test_an_export_that_the_disk_does_not_take_leaves_the_old_file(
    kept: Kept, tmp_path: Path
) -> None:
    for name in ("csv", "parquet"):
        (tmp_path / name).write_text("the old one")
    # Only then the limit: what is imported may be compiled into files.
    program = (
        "import sys, resource; from bridge.__main__ import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY)); "
        "sys.exit(sum(main(['export', '--days', '50', '--format', name, '--output', name]) "
        "for name in ('csv', 'parquet')))"
    )

    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=tmp_path,
        env={"MLFLOW_TRACKING_URI": kept.uri, "PATH": "/usr/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert done.stderr.count("File too large") == 2
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "csv": "the old one",
        "parquet": "the old one",
    }


def test_an_export_that_is_killed_leaves_no_half_file(own: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "bridge", "export", "--days", "50"),
            *("--format", "csv", "--output", str(folder / "history.csv")),
        ],
        cwd=ROOT,
        env={"MLFLOW_TRACKING_URI": own.uri, "PATH": "/usr/bin"},
    )
    with process:
        while process.poll() is None and not any(folder.iterdir()):
            time.sleep(0.0005)
        process.kill()

    assert process.returncode == -9
    assert [path.name for path in folder.iterdir()] == [f".history.csv.{process.pid}.part"]
