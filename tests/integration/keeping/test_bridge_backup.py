"""The history is backed up and restored bit for bit, of real stores and from a server."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from kept_history import (
    DAYS_BACK,
    MARKS,
    MODELS,
    Kept,
    Told,
    artifact,
    exactly,
    finished,
    flip_a_byte,
    runs_of,
)
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from postgres import PostgreSQL
from prometheus_server import wait_until
from service_process import NO_TLS

from service.monitoring.tracking import EntryKind
from service.state.store import open_state

pytestmark = MARKS


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
            return httpx.get(f"{server.uri}/health", verify=NO_TLS).status_code == 200
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
