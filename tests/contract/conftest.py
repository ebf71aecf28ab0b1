"""The databases that one suite runs over."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import PostgreSQL
from stored_readings import SCOPE

from service.monitoring.history import History
from service.state.store import State, open_state


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    server = request.getfixturevalue("postgres")
    assert isinstance(server, PostgreSQL)
    return server.create_database(f"state_{uuid.uuid4().hex}")


@pytest.fixture
def state(url: str) -> Iterator[State]:
    """The state in it."""
    with open_state(url) as opened:
        yield opened


@pytest.fixture
def history(state: State) -> History:
    """The history of one scope."""
    return state.history(SCOPE)
