"""The databases that one suite runs over."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import PostgreSQL, find_programs, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A real server; without its package the test is skipped, in CI it fails."""
    programs = find_programs()
    if programs is None:
        reason = "PostgreSQL is missing: sudo apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running_postgres(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    server: PostgreSQL = request.getfixturevalue("postgres")
    return server.create_database(f"state_{uuid.uuid4().hex}")
