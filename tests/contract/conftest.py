"""The databases that one suite runs over."""

import uuid
from pathlib import Path

import pytest
from postgres import PostgreSQL


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    server = request.getfixturevalue("postgres")
    assert isinstance(server, PostgreSQL)
    return server.create_database(f"state_{uuid.uuid4().hex}")
