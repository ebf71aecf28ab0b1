"""What a tracking URI means, case by case."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bridge.tracking_uri import UnusableTrackingUriError, tracking_store


def file_store(folder: Path) -> Path:
    """A folder as MLflow's file store leaves it."""
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "meta.yaml").write_text("name: Default\n")
    return folder


@pytest.mark.parametrize(
    "given",
    [
        *(
            None,
            "",
            " ",
            "sqlite:///mlflow.db",
            "sqlite:///./mlflow.db",
            "sqlite:///x/../mlflow.db",
        ),
        *("file://./mlruns", "file:./mlruns", "file:mlruns", "./mlruns", "mlruns"),
        *("file:///{folder}/mlruns", "file://localhost/{folder}/mlruns", "{folder}/mlruns"),
        *("sqlite:////{folder}/mlflow.db", "file://./mlruns/", "FILE://./mlruns"),
    ],
)
def test_sqlite_in_the_folder_is_what_all_local_uris_mean(
    given: str | None, tmp_path: Path
) -> None:
    relative = str(tmp_path).removeprefix("/")
    store = tracking_store(
        given and given.replace("/{folder}", f"/{relative}").replace("{folder}", str(tmp_path)),
        tmp_path,
    )

    assert store.uri == store.name == f"sqlite:///{tmp_path}/mlflow.db"
    assert store.database == tmp_path / "mlflow.db"
    assert store.artifact_location == f"file://{tmp_path}/mlruns"
    assert not store.doubles_points
    assert store.is_database


@pytest.mark.parametrize("given", ["file://./mlruns", "file:./mlruns", "./mlruns", "mlruns"])
def test_whoever_names_a_file_store_is_told_where_runs_go(given: str, tmp_path: Path) -> None:
    store = tracking_store(given, tmp_path)

    assert given in store.warning
    assert f"sqlite:///{tmp_path}/mlflow.db" in store.warning


def test_sqlite_elsewhere_keeps_its_artifacts_beside_it(tmp_path: Path) -> None:
    store = tracking_store("sqlite:///deep/history.db", tmp_path)

    assert store.database == tmp_path / "deep" / "history.db"
    assert store.artifact_location == f"file://{tmp_path}/deep/mlruns"
    assert store.warning == ""


def test_a_file_uri_to_another_folder_means_sqlite_beside_that_folder(tmp_path: Path) -> None:
    store = tracking_store(f"file://{tmp_path}/elsewhere/runs", tmp_path / "here")

    assert store.database == tmp_path / "elsewhere" / "mlflow.db"
    assert store.artifact_location == f"file://{tmp_path}/elsewhere/mlruns"


@pytest.mark.parametrize("given", ["file://./mlruns", "./mlruns", "file:///{folder}/mlruns"])
def test_a_file_store_with_runs_in_it_is_kept_and_the_way_out_is_named(
    given: str, tmp_path: Path
) -> None:
    runs = file_store(tmp_path / "mlruns")

    store = tracking_store(given.replace("/{folder}", str(tmp_path)), tmp_path)

    assert store.uri == f"file://{runs}"
    assert store.files == runs
    assert store.doubles_points
    assert not store.is_database
    assert f"mlflow migrate-filestore --source {runs} --target" in store.warning


def test_a_file_store_can_be_insisted_on(tmp_path: Path) -> None:
    store = tracking_store("file://./mlruns", tmp_path, strict_files=True)

    assert store.uri == f"file://{tmp_path}/mlruns"
    assert store.doubles_points


def test_an_old_file_store_does_not_capture_the_default_but_is_pointed_out(tmp_path: Path) -> None:
    file_store(tmp_path / "mlruns")

    store = tracking_store(None, tmp_path)

    assert store.database == tmp_path / "mlflow.db"
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db" in store.warning


def test_a_folder_of_artifacts_is_no_file_store(tmp_path: Path) -> None:
    (tmp_path / "mlruns" / "1" / "0a1b" / "artifacts").mkdir(parents=True)

    assert tracking_store("./mlruns", tmp_path).database == tmp_path / "mlflow.db"
    assert tracking_store(None, tmp_path).warning == ""


def test_preparing_turns_on_wal_which_the_file_keeps(tmp_path: Path) -> None:
    store = tracking_store("sqlite:///deep/mlflow.db", tmp_path)

    store.prepare()

    with closing(sqlite3.connect(tmp_path / "deep" / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_preparing_a_file_store_allows_it_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")

    tracking_store("./mlruns", tmp_path, strict_files=True).prepare()

    assert os.environ["MLFLOW_ALLOW_FILE_STORE"] == "true"


@pytest.mark.parametrize(
    ("given", "uri", "name"),
    [
        *(
            (
                f"{scheme}://u:p%40ss@host:5432/d",
                f"{used}://u:p%40ss@host:5432/d",
                f"{used}://u:***@host:5432/d",
            )
            for scheme, used in [
                ("postgresql", "postgresql+psycopg"),
                ("postgres", "postgresql+psycopg"),
                ("postgresql+psycopg", "postgresql+psycopg"),
                ("postgresql+psycopg2", "postgresql+psycopg2"),
            ]
        ),
        (
            "postgresql://u@h/d?sslmode=require&password=p%40ss",
            "postgresql+psycopg://u@h/d?password=p%40ss&sslmode=require",
            "postgresql+psycopg://u@h/d",
        ),
        ("http://host:5000", "http://host:5000", "http://host:5000"),
        ("http://host:5000/", "http://host:5000", "http://host:5000"),
        ("https://host/mlflow", "https://host/mlflow", "https://host/mlflow"),
        ("http://u:p%40ss@host:5000", "http://u:p%40ss@host:5000", "http://host:5000"),
    ],
)
def test_servers_are_asked_as_given_and_named_without_the_password(
    given: str, uri: str, name: str, tmp_path: Path
) -> None:
    store = tracking_store(given, tmp_path)

    assert store.uri == uri
    assert store.name == name
    assert "p%40ss" not in repr(store)
    assert store.is_server == given.startswith("http")
    assert store.is_database != store.is_server
    assert (store.database, store.files, store.warning) == (None, None, "")


def test_the_password_is_taken_out_of_what_others_say(tmp_path: Path) -> None:
    store = tracking_store("http://u:p%40ss@host:5000", tmp_path)

    said = "http://u:p%40ss@host:5000/api failed: u:p@ss, p%40ss"

    assert store.redacted(said) == "http://host:5000/api failed: u:***, ***"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("databricks", "neither a URL nor a path"),
        ("databricks://profile", "databricks: is no store"),
        ("databricks-uc", "neither a URL nor a path"),
        ("s3://bucket/mlruns", "s3: is no store"),
        ("mysql://u:secret@host/d", "mysql: is no store"),
        ("garbage", "neither a URL nor a path"),
        ("127.0.0.1:5000", "neither a URL nor a path"),
        ("localhost:5000", "localhost: is no store"),
        ("http://", "names no host"),
        ("http://host:secret", "cannot be read"),
        ("http://[secret", "cannot be read"),
        ("postgresql://u:se@cr:et@host:port/secret", "cannot be read"),
        ("postgresql+asyncpg://u:secret@host/d", "cannot use the driver asyncpg"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
        ("sqlite+aiosqlite:///mlflow.db", "sqlite+aiosqlite: is no store"),
        ("file://mlruns", "write file:./mlruns"),
        ("file://host/abs/mlruns", "names a host"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_give_instead(
    given: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(UnusableTrackingUriError) as refused:
        tracking_store(given, tmp_path)

    assert hint in str(refused.value)
    assert "give sqlite:///mlflow.db, postgresql://" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_folder_that_mlflow_could_not_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableTrackingUriError, match="question mark"):
        tracking_store(None, tmp_path / "what?")
