"""What a later release has written is refused: both versions and the fix are named, all is left."""

import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from postgres import PostgreSQL
from released_state import RELEASED, bridge_of, unpack
from service_process import ROOT
from state_processes import query

from service import __version__
from service.state.store import open_state

pytestmark = pytest.mark.integration

LATER = 99
REFUSAL = re.compile(
    rf"error: .* was written by a newer release \([\w. ]+ {LATER}, this release, "
    rf"{re.escape(__version__)}, knows \d+\): run that release, or \w+"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which service and bridge have been at work."""
    unpack(RELEASED[-1], tmp_path)
    return tmp_path


def metrics(folder: Path) -> None:
    [epoch] = (folder / "var/metrics").iterdir()
    (epoch / "format").write_text(f"{LATER}\n")


def releases(folder: Path) -> None:
    rewrite(folder / "var/releases/pointer.json")


def model(folder: Path) -> None:
    version = (folder / "models/xgboost/CURRENT").read_text().strip()
    rewrite(folder / "models/xgboost/versions" / version / "metadata.json")


def rewrite(file: Path) -> None:
    content = json.loads(file.read_text())
    assert content["format"] < LATER
    file.write_text(json.dumps(content | {"format": LATER}))


def state(folder: Path) -> None:
    execute(folder / "var/state.db", "UPDATE schema_version SET version = 99")


def runs(folder: Path) -> None:
    changed = execute(folder / "mlflow.db", "UPDATE tags SET value = '99' WHERE key = 'ctr.format'")
    assert changed


def execute(file: Path, statement: str) -> int:
    with closing(sqlite3.connect(file)) as database, database:
        return database.execute(statement).rowcount


def contents(folder: Path) -> dict[str, str]:
    """Every file but the lock, which whoever starts holds."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"service.lock", "lock"}
    }


def start(folder: Path, state_url: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "CTR_INSTANCE": "host1"}
    return subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts/run_api.py"), "--port", "0"),
            *("--state-dir", str(folder / "var"), "--models-dir", str(folder / "models")),
        ],
        cwd=folder,
        env=environment | ({"CTR_STATE_URL": state_url} if state_url else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("plant", [metrics, releases, model, state])
def test_the_service_refuses_what_a_later_release_wrote_and_changes_nothing(
    folder: Path, plant: Callable[[Path], None]
) -> None:
    plant(folder)
    before = contents(folder)

    refused = start(folder)

    assert refused.returncode == 1
    assert REFUSAL.search(refused.stderr), refused.stderr
    assert refused.stdout == ""
    assert contents(folder) == before


def test_the_service_refuses_a_later_state_in_postgresql_and_changes_nothing(
    folder: Path, postgres: PostgreSQL
) -> None:
    url = postgres.create_database("later")
    open_state(url).close()
    query(url, "UPDATE schema_version SET version = 99 RETURNING 1")
    before = contents(folder)

    refused = start(folder, url)

    assert refused.returncode == 1
    assert REFUSAL.search(refused.stderr), refused.stderr
    assert contents(folder) == before
    assert query(url, "SELECT count(*) FROM epochs") == 0


@pytest.mark.parametrize("plant", [state, runs])
def test_the_bridge_refuses_what_a_later_release_wrote_and_sends_nothing(
    folder: Path, plant: Callable[[Path], None]
) -> None:
    plant(folder)
    history = hashlib.sha256((folder / "mlflow.db").read_bytes()).hexdigest()

    refused = bridge_of(folder, "send", env={})

    assert refused.returncode == 1
    assert REFUSAL.search(refused.stderr), refused.stderr
    assert hashlib.sha256((folder / "mlflow.db").read_bytes()).hexdigest() == history
