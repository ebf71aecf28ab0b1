"""The history is exported, backed up, restored and archived: real stores of MLflow."""

import csv
import json
import math
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgres import PostgreSQL
from prometheus_server import wait_until
from pyarrow import parquet
from service_process import ROOT

from bridge.__main__ import main
from bridge.keeping.database_copies import copy_sqlite
from bridge.mlflow_tracking import MlflowTracking
from bridge.points import common_points_of, points_of
from bridge.runs import RunNaming, day_end_ms
from bridge.sending import Sender
from bridge.tracking_uri import tracking_store
from bridge.windows import Slot, slots_of_day
from service.monitoring.tracking import Entry, EntryKind
from service.state.store import open_state

# isort: split
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.tracking import MlflowClient

pytestmark = [
    pytest.mark.integration,
    # Inside MLflow: of SQLAlchemy and others.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

EXPERIMENT = "ctr_prediction_production"
DAY = 86_400
MODELS = ("xgboost", "logistic")
DAYS_BACK = (40, 39, 2)
WINDOWS_A_DAY = 8
ODD_VALUES = (math.nan, 0.1 + 0.2, 5e-324, -1.7976931348623157e308, 1 / 3, -0.0)

NAMING = RunNaming(
    source="instance:host1", window_seconds=300, experiment="none", service_version="0.1.0"
)

Told = pytest.CaptureFixture[str]
Exactly = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Kept:
    """A store with a history that the tests must not change."""

    folder: Path
    uri: str
    state: Path


def day_start(days_back: int) -> int:
    return (int(time.time()) // DAY - days_back) * DAY


def slots(days_back: int) -> Sequence[Slot]:
    return slots_of_day(day_start(days_back), 300)[:WINDOWS_A_DAY]


def send_history(kept: Kept) -> None:
    """Write finished days as the bridge does: frozen in the outbox, then sent."""
    with open_state(kept.state) as state:
        outbox = state.outbox("instance:host1")
        for days_back in DAYS_BACK:
            for model in MODELS:
                run = NAMING.of_day(model, "v1", slots(days_back)[0])
                entries = [
                    Entry(
                        run_key=run.key,
                        kind=EntryKind.WINDOW,
                        step=slot.number,
                        points=points_of(
                            {"error_rate": slot.number / 7, "requests_in_window": 3.0}
                            | ({} if slot.place_in_day == 1 else {"avg_latency_ms": 1 / 3}),
                            model_name=model,
                            slot=slot,
                        ),
                    )
                    for slot in slots(days_back)
                ]
                close = Entry(
                    run_key=run.key,
                    kind=EntryKind.CLOSE,
                    step=slots(days_back)[-1].number,
                    points=common_points_of({"day/requests": 24.0}, slots(days_back)[-1]),
                    end_ms=day_end_ms(run),
                )
                outbox.freeze([run], [*entries, close], at=time.time())
        tracking = MlflowTracking(tracking_store(kept.uri, kept.folder), EXPERIMENT)
        Sender(outbox=outbox, tracking=tracking, holds_lease=lambda: True).send()
        assert outbox.backlog().entries == 0


def add_odd_runs(kept: Kept) -> None:
    """Write by a plain client what the bridge would not: all that a store can hold."""
    client = MlflowClient(kept.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    [parent, *_] = client.search_runs(
        [experiment.experiment_id], order_by=["attributes.start_time ASC"]
    )
    start_ms = day_start(40) * 1000
    child = client.create_run(
        experiment.experiment_id,
        start_time=start_ms + 17,
        run_name="odd ✓ samples",
        tags={
            "ctr.kind": "samples",
            "ctr.day": parent.data.tags["ctr.day"],
            "ctr.run_key": "odd|samples",
            "mlflow.parentRunId": parent.info.run_id,
            "mlflow.note.content": "two\nlines, 'quoted', \"twice\", é",
        },
    ).info.run_id
    client.log_batch(
        child,
        metrics=[
            *(Metric("odd values/é", value, start_ms + 1, 2**62) for value in ODD_VALUES),
            *(Metric("latency_ms", n / 3, start_ms + n % 5, n) for n in range(1500)),
        ],
        params=[Param("depth", "6"), Param("empty", "")],
        tags=[RunTag("late", "yes")],
    )
    report = kept.folder / "report.html"
    report.write_text("<p>drift</p>")
    client.log_artifact(child, str(report), "reports")
    client.set_terminated(child, end_time=start_ms + 999)
    running = client.create_run(
        experiment.experiment_id,
        start_time=start_ms,
        run_name="still running",
        tags={"ctr.kind": "monitoring", "ctr.day": parent.data.tags["ctr.day"]},
    )
    client.log_metric(running.info.run_id, "error_rate", math.nan, start_ms + 300_000, step=1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    made = Kept(folder, f"sqlite:///{folder}/mlflow.db", folder / "var" / "state.db")
    made.state.parent.mkdir()
    send_history(made)
    add_odd_runs(made)
    return made


@pytest.fixture
def own(kept: Kept, tmp_path: Path) -> Kept:
    """A copy that the test may change."""
    folder = tmp_path / "own"
    folder.mkdir()
    copy_sqlite(kept.folder / "mlflow.db", folder / "mlflow.db")
    return Kept(folder, f"sqlite:///{folder}/mlflow.db", folder / "var" / "state.db")


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run a command about a store, from an empty folder."""

    def call(store: Kept, *arguments: object) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
        monkeypatch.setenv("CTR_STATE_DIR", str(store.state.parent))
        return main([str(argument) for argument in arguments])

    return call


def runs_of(uri: str) -> Sequence[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return ()
    return client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)


def points_in(uri: str, run: Run) -> Sequence[tuple[str, int, int, bytes]]:
    """Every bit of every point, by MLflow's own client; SQLite knows no minus zero."""
    client = MlflowClient(uri)
    return sorted(
        (name, point.step, point.timestamp, struct.pack("<d", point.value + 0.0))
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    )


def exactly(uri: str) -> Exactly:
    """All that a store has, but for ids; a parent is told by its name."""
    runs = runs_of(uri)
    names = {run.info.run_id: run.info.run_name for run in runs}
    return {
        run.info.run_name: (
            *(run.info.status, run.info.start_time, run.info.end_time, run.data.params),
            {name: names.get(value, value) for name, value in run.data.tags.items()},
            {name: struct.pack("<d", value + 0.0) for name, value in run.data.metrics.items()},
            points_in(uri, run),
        )
        for run in runs
    }


def finished(content: Exactly, newest_day: int) -> Exactly:
    """The runs of days at least so far back, but for the one that is not finished."""
    day = datetime.fromtimestamp(day_start(newest_day), tz=UTC).date().isoformat()
    return {
        name: run
        for name, run in content.items()
        if name != "still running" and run[4]["ctr.day"] <= day
    }


def artifact(uri: str, run: Run, folder: Path) -> str:
    client = MlflowClient(uri)
    file = client.download_artifacts(run.info.run_id, "reports/report.html", str(folder))
    return Path(file).read_text()


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


# Export


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


# Backup and restore


def back_up(store: Kept, bridge: Callable[..., int], output: Path, *more: object) -> Path:
    assert bridge(store, "backup", "--output", output, *more) == 0
    return max(output.glob("history-20*"))


def test_a_restored_backup_is_bit_for_bit_the_history_it_was_made_of(
    kept: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    backup = back_up(kept, bridge, tmp_path / "backups")
    assert "with the state; verified" in capsys.readouterr().out
    target, state = tmp_path / "new" / "mlflow.db", tmp_path / "new-state.db"

    restoring = ("restore", "--from", backup, "--to", f"sqlite:///{target}", "--state", state)
    assert bridge(kept, *restoring) == 0

    assert exactly(f"sqlite:///{target}") == exactly(kept.uri)
    with open_state(state) as restored:
        assert len(restored.outbox("instance:host1").newest(EntryKind.CLOSE)) == len(MODELS)


def test_artifacts_are_restored_to_the_new_place(
    kept: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    backup = back_up(kept, bridge, tmp_path / "backups")
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"

    assert bridge(kept, "restore", "--from", backup, "--to", uri) == 0

    [child] = [run for run in runs_of(uri) if run.info.run_name == "odd ✓ samples"]
    assert child.info.artifact_uri.startswith((tmp_path / "new" / "mlruns").as_uri())
    assert artifact(uri, child, tmp_path) == "<p>drift</p>"


def test_a_backup_that_is_damaged_anywhere_is_refused_and_nothing_is_restored(
    kept: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    backup = back_up(kept, bridge, tmp_path / "backups")
    files = sorted(path.relative_to(backup) for path in backup.rglob("*") if path.is_file())
    assert {"manifest.json", "mlflow.db", "report.html", "state.db"} <= {f.name for f in files}

    for file in files:
        damaged = tmp_path / "damaged"
        shutil.copytree(backup, damaged)
        flip_a_byte(damaged / file)

        new = tmp_path / "new" / "mlflow.db"
        assert bridge(kept, "restore", "--from", damaged, "--to", f"sqlite:///{new}") == 1
        assert str(damaged / file) in capsys.readouterr().err
        assert not new.parent.exists()
        shutil.rmtree(damaged)


def test_a_restore_overwrites_nothing(
    kept: Kept, own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    backup = back_up(kept, bridge, tmp_path / "backups")
    before = (own.folder / "mlflow.db").read_bytes()

    assert bridge(kept, "restore", "--from", backup, "--to", own.uri) == 1

    assert "nothing is overwritten" in capsys.readouterr().err
    assert (own.folder / "mlflow.db").read_bytes() == before
    assert not (own.folder / "mlruns").exists()


def test_a_backup_is_made_while_the_history_is_written(
    own: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    client, stop = MlflowClient(own.uri), threading.Event()
    run_id = runs_of(own.uri)[0].info.run_id
    written: list[int] = []
    began = threading.Event()

    def write() -> None:
        while not stop.is_set():
            step = len(written)
            client.log_batch(run_id, [Metric(f"m{n}", step / 7, step, step) for n in range(5)])
            written.append(step)
            began.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert began.wait(30)
        backup = back_up(own, bridge, tmp_path / "backups")
        during = len(written)
    finally:
        stop.set()
        writer.join()

    assert during > 1
    manifest = json.loads((backup / "manifest.json").read_text())["content"]
    with closing(sqlite3.connect(backup / "mlflow.db")) as copy:
        [count] = copy.execute("SELECT count(*) FROM metrics").fetchone()
        [added] = copy.execute("SELECT count(*) FROM metrics WHERE key LIKE 'm_'").fetchone()
    assert manifest["counts"]["metrics"] == count
    assert added % 5 == 0  # A batch is in it wholly or not at all.


def test_only_the_newest_backups_are_kept(
    kept: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    # Backups are named by the second: this one was made long before the next.
    first = back_up(kept, bridge, folder).rename(folder / "history-20210101T000000Z")
    for number in range(3):
        shutil.copytree(first, folder / f"history-2020010{number}T000000Z")
    others = (folder / "history-of-art", folder / "history-20190101T000000Z")
    for other in others:
        other.mkdir()  # Not ours, or not whole.
    (folder / ".history-20200101T000000Z.1.part").mkdir()

    last = back_up(kept, bridge, folder, "--keep", 2)

    assert {path for path in folder.iterdir() if path.is_dir()} == {first, last, *others}


@pytest.fixture
def in_postgres(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, postgres: PostgreSQL
) -> Kept:
    """The history of all finished days, moved from SQLite to PostgreSQL by an archive."""
    expected, archive = finished(exactly(own.uri), 1), tmp_path / "archive"
    assert bridge(own, "archive", "--older-than", 1, "--output", archive, "--apply") == 0
    uri = postgres.create_database(f"history_{len(list(tmp_path.parent.iterdir()))}")
    store = Kept(own.folder, uri, own.state)

    assert bridge(store, "restore", "--from", archive, "--to", uri) == 0

    assert len(expected) == len(MODELS) * len(DAYS_BACK) + 1
    assert exactly(driver(uri)) == expected
    return store


def driver(uri: str) -> str:
    return uri.replace("postgresql:", "postgresql+psycopg:")


def test_a_backup_of_postgresql_is_restored_bit_for_bit_and_into_an_empty_database_only(
    in_postgres: Kept,
    bridge: Callable[..., int],
    tmp_path: Path,
    postgres: PostgreSQL,
    capsys: Told,
) -> None:
    store = in_postgres
    backup = back_up(store, bridge, tmp_path / "backups")
    new = postgres.create_database("restored")
    shutil.rmtree(tmp_path / "mlruns")
    assert bridge(store, "restore", "--from", backup, "--to", new) == 0
    assert exactly(driver(new)) == exactly(driver(store.uri))

    shutil.rmtree(tmp_path / "mlruns")
    assert bridge(store, "restore", "--from", backup, "--to", new) == 1
    assert "into an empty one only" in capsys.readouterr().err
    flip_a_byte(backup / "mlflow.dump")
    assert bridge(store, "restore", "--from", backup, "--to", new) == 1
    assert "mlflow.dump is damaged" in capsys.readouterr().err


def test_an_archive_moves_the_history_from_sqlite_to_postgresql_and_back_bit_for_bit(
    in_postgres: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    uri, archive = driver(in_postgres.uri), tmp_path / "again"
    [run, *_] = runs_of(uri)
    MlflowClient(uri).log_metric(run.info.run_id, "zero", -0.0, 1, step=1)
    before = exactly(uri)

    assert bridge(in_postgres, "archive", "--older-than", 1, "--output", archive, "--apply") == 0
    assert exactly(uri) == {}
    back = f"sqlite:///{tmp_path}/back/mlflow.db"
    assert bridge(in_postgres, "restore", "--from", archive, "--to", back) == 0

    assert exactly(back) == before


def test_without_pg_dump_a_backup_says_what_to_install(
    kept: Kept,
    bridge: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Told,
) -> None:
    store = Kept(tmp_path, "postgresql://nobody@127.0.0.1:1/none", kept.state)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert bridge(store, "backup", "--output", tmp_path / "backups") == 1

    assert "pg_dump is missing" in capsys.readouterr().err
    assert not list((tmp_path / "backups").glob("history-*"))


# Archive


def test_an_archive_without_apply_says_what_it_would_do_and_does_nothing(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    before = exactly(own.uri)

    assert bridge(own, "archive", "--older-than", 30, "--output", tmp_path / "archive") == 0

    told = capsys.readouterr().out
    points = sum(len(run[-1]) for run in finished(before, 31).values())
    assert f"5 runs of {slots(40)[0].day} to {slots(39)[0].day}, {points} points" in told
    assert "would be archived" in told
    assert "still running: not finished" in told
    assert not (tmp_path / "archive").exists()
    assert exactly(own.uri) == before


def test_archived_runs_leave_mlflow_and_come_back_bit_for_bit_in_another_store(
    own: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    before = exactly(own.uri)
    archive, new = tmp_path / "archive", f"sqlite:///{tmp_path}/new/mlflow.db"

    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0

    old = finished(before, 31)
    assert exactly(own.uri) == {name: run for name, run in before.items() if name not in old}
    assert bridge(own, "restore", "--from", archive, "--to", new) == 0
    assert exactly(new) == old
    [child] = [run for run in runs_of(new) if run.info.run_name == "odd ✓ samples"]
    assert artifact(new, child, tmp_path) == "<p>drift</p>"


def test_archived_runs_come_back_in_their_own_store_as_the_same_runs(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    before, ids = exactly(own.uri), {run.info.run_id for run in runs_of(own.uri)}
    archive = tmp_path / "archive"
    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0

    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    assert "5 runs, " in capsys.readouterr().out.splitlines()[-1]
    assert exactly(own.uri) == before
    assert {run.info.run_id for run in runs_of(own.uri)} == ids

    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    assert "5 runs were there already" in capsys.readouterr().out
    assert exactly(own.uri) == before


def test_an_archive_that_is_damaged_anywhere_is_refused_and_nothing_is_restored(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    archive, new = tmp_path / "archive", tmp_path / "new" / "mlflow.db"
    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0
    for name in ("meta.json", "points.parquet", "report.html"):
        *_, file = sorted(archive.rglob(name))
        whole = file.read_bytes()
        flip_a_byte(file)

        assert bridge(own, "restore", "--from", archive, "--to", f"sqlite:///{new}") == 1
        assert str(file) in capsys.readouterr().err
        assert not new.exists()
        file.write_bytes(whole)


def test_a_run_that_is_not_what_its_archive_says_is_neither_deleted_nor_restored(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    archive = tmp_path / "archive"
    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0
    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    name = NAMING.of_day("xgboost", "v1", slots(40)[0]).name
    [changed] = [run for run in runs_of(own.uri) if run.info.run_name == name]
    client, late = MlflowClient(own.uri), tmp_path / "late.html"
    late.write_text("a report that came late")
    client.log_artifact(changed.info.run_id, str(late), "reports")
    archiving = ("archive", "--older-than", 30, "--output", archive, "--apply")
    assert bridge(own, *archiving) == 1
    assert "is not deleted: it is no longer what" in capsys.readouterr().err
    client.log_metric(changed.info.run_id, "error_rate", 1.0, 5, step=5)
    before = exactly(own.uri)

    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 1
    assert "another run with its key, which is left as it is" in capsys.readouterr().err
    # Which of the other runs were archived before this one depends on their ids.
    assert exactly(own.uri)[name] == before[name]

    assert bridge(own, *archiving) == 1
    assert "is not deleted: it is no longer what" in capsys.readouterr().err
    assert name in exactly(own.uri)


def test_an_interrupted_archive_and_an_interrupted_restore_go_on(
    own: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    before = exactly(own.uri)
    old = finished(before, 31)
    archive, new = tmp_path / "archive", f"sqlite:///{tmp_path}/new/mlflow.db"
    command = ("archive", "--older-than", 30, "--output", archive, "--apply")
    assert bridge(own, *command) == 0
    # As if it had been killed after writing and before deleting.
    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    assert bridge(own, *command) == 0
    assert old.keys().isdisjoint(exactly(own.uri))

    # As if it had been killed amid the points of a run.
    [meta] = [file for file in archive.rglob("meta.json") if "odd|samples" in file.read_text()]
    run = json.loads(meta.read_text())["content"]
    client = MlflowClient(tracking_store(new, tmp_path).uri)
    experiment = client.create_experiment(EXPERIMENT)
    begun = client.create_run(
        experiment,
        start_time=run["start_ms"],
        run_name=run["name"],
        tags={**run["tags"], "ctr.restoring": run["run_id"]},
    )
    points = parquet.read_table(meta.parent / "points.parquet").to_pylist()[:700]
    client.log_batch(
        begun.info.run_id,
        [Metric(p["metric"], p["value"], p["timestamp_ms"], p["step"]) for p in points],
    )
    assert bridge(own, "restore", "--from", archive, "--to", new) == 0
    restored = exactly(new)
    assert len(runs_of(new)) == len(old)
    child = "odd ✓ samples"
    assert restored[child][5:] == old[child][5:]
    assert {**restored, child: None} == {**old, child: None}


# A server


@pytest.fixture
def server(own: Kept) -> Iterator[Kept]:
    port = 20_000 + own.folder.stat().st_ino % 20_000
    command = [
        *(str(Path(sys.executable).parent / "mlflow"), "server", "--workers", "1"),
        *("--backend-store-uri", own.uri, "--port", str(port)),
        *("--artifacts-destination", str(own.folder / "served")),
    ]
    with (own.folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=own.folder,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield Kept(own.folder, f"http://127.0.0.1:{port}", own.state)
    os.killpg(process.pid, signal.SIGKILL)  # It has a child that serves.
    process.wait()


def test_the_history_of_a_server_is_the_same_and_is_backed_up_elsewhere(
    own: Kept, server: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"{server.uri}/health").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, seconds=60, what="MLflow's server")
    export = ("export", "--days", 50, "--format", "csv", "--output")
    assert bridge(own, *export, tmp_path / "direct.csv") == 0
    assert bridge(server, *export, tmp_path / "served.csv") == 0
    assert (tmp_path / "served.csv").read_bytes() == (tmp_path / "direct.csv").read_bytes()

    assert bridge(server, "backup", "--output", tmp_path / "backups") == 1
    assert "its own store" in capsys.readouterr().err

    before = exactly(own.uri)
    archive = ("archive", "--older-than", 30, "--output", tmp_path / "archive", "--apply")
    assert bridge(server, *archive) == 0
    assert len(exactly(own.uri)) == len(before) - 5
    assert bridge(server, "restore", "--from", tmp_path / "archive", "--to", server.uri) == 0
    assert exactly(own.uri) == before
