"""The bridge and the tables of other releases of MLflow: it neither changes nor misreads them."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from mlflow_databases import OLDER_REVISION, execute, make_newer, make_older_database, revision_of
from postgres import PASSWORD, PostgreSQL
from prometheus_server import wait_until
from service_process import ROOT

from bridge.mlflow_schema import Tables, check_tables, installed_release
from bridge.mlflow_tracking import MlflowTracking
from bridge.tracking import TrackingUnavailableError
from bridge.tracking_uri import TrackingStore, tracking_store

pytestmark = pytest.mark.integration

NewStore = Callable[[], TrackingStore]
_NUMBERS = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> NewStore:
    """Make empty stores of a kind."""
    if request.param == "sqlite":
        return lambda: tracking_store(f"sqlite:///mlflow{next(_NUMBERS)}.db", tmp_path)
    server: PostgreSQL = request.getfixturevalue("postgres")
    return lambda: tracking_store(server.create_database(f"mlflow{next(_NUMBERS)}"), tmp_path)


def connect(store: TrackingStore) -> str:
    return MlflowTracking(store, "ctr_prediction_production").connect()


def refusal(store: TrackingStore) -> TrackingUnavailableError:
    with pytest.raises(TrackingUnavailableError) as refused:
        connect(store)
    assert PASSWORD not in str(refused.value)
    return refused.value


def test_a_new_database_is_set_up_and_found_in_order_from_then_on(new_store: NewStore) -> None:
    store = new_store()
    assert check_tables(store) is Tables.NONE

    first = connect(store)

    assert first == f"{store.name}#1"
    assert check_tables(store) is Tables.CURRENT
    assert connect(store) == first


def test_the_release_is_read_without_importing_mlflow_and_its_head_is_what_mlflow_writes(
    new_store: NewStore,
) -> None:
    store = new_store()
    connect(store)

    assert revision_of(store.uri) == installed_release().head


def test_older_tables_are_left_as_they_are_and_the_command_is_named(new_store: NewStore) -> None:
    store = new_store()
    make_older_database(store.uri)

    problem = refusal(store)

    assert problem.reason == "schema"
    assert "an older MLflow" in str(problem)
    assert f"mlflow db upgrade {store.name}" in str(problem)
    assert revision_of(store.uri) == OLDER_REVISION


def test_newer_tables_are_called_newer(new_store: NewStore) -> None:
    store = new_store()
    connect(store)
    make_newer(store.uri)

    problem = refusal(store)

    assert problem.reason == "schema"
    assert "written by a newer MLflow" in str(problem)


def test_a_database_whose_creation_was_cut_short_is_finished(new_store: NewStore) -> None:
    store = new_store()
    make_older_database(store.uri)
    execute(store.uri, "DELETE FROM experiments")  # The first one comes after the last table.

    connect(store)

    assert check_tables(store) is Tables.CURRENT


def test_a_bridge_that_is_killed_while_creating_the_database_leaves_none(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from bridge.tracking_uri import tracking_store; "
    code += "from bridge.mlflow_tracking import MlflowTracking; "
    code += "MlflowTracking(tracking_store(None, Path(sys.argv[1])), 'e').connect()"
    creating = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    wait_until(
        lambda: any(file.stat().st_size for file in tmp_path.glob(".mlflow.db-*/mlflow.db")),
        seconds=60,
        what="the first table is made",
    )
    creating.kill()
    creating.wait()
    assert not (tmp_path / "mlflow.db").exists()

    store = tracking_store(None, tmp_path)
    connect(store)

    assert check_tables(store) is Tables.CURRENT


def test_the_database_of_another_program_is_refused(new_store: NewStore) -> None:
    store = new_store()
    execute(store.uri, "CREATE TABLE alembic_version (version_num VARCHAR(32))")
    execute(store.uri, "INSERT INTO alembic_version VALUES ('0123456789ab')")

    problem = refusal(store)

    assert problem.reason == "schema"
    assert "a database of its own" in str(problem)


def test_tables_beside_mlflow_s_are_no_hindrance(new_store: NewStore) -> None:
    store = new_store()
    execute(store.uri, "CREATE TABLE schema_version (version INTEGER)")

    assert connect(store) == f"{store.name}#1"


def test_a_server_that_is_down_is_unreachable_at_once(tmp_path: Path) -> None:
    problem = refusal(tracking_store("postgresql://u:s3cret@127.0.0.1:1/d", tmp_path))

    assert problem.reason == "unreachable"
    assert "s3cret" not in str(problem)


def test_a_driver_that_is_missing_is_named(tmp_path: Path) -> None:
    problem = refusal(tracking_store("postgresql+psycopg2://u:s3cret@127.0.0.1:1/d", tmp_path))

    assert problem.reason == "driver"
    assert "psycopg2" in str(problem)
    assert "postgresql:// uses psycopg" in str(problem)


def test_a_file_that_is_no_database_stops_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("I am a letter, not a database. " * 50)

    problem = refusal(tracking_store(None, tmp_path))

    assert problem.reason == "unreachable"
    assert "not a database" in str(problem)


def test_what_is_checked_is_not_changed(tmp_path: Path) -> None:
    store = tracking_store(None, tmp_path)
    store.prepare()

    check_tables(store)

    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
