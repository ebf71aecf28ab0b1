"""Servers of the faults' own: they are killed."""

from collections.abc import Iterator

import pytest
from postgres import PostgreSQL, find_programs, running_postgres


@pytest.fixture(scope="module")
def own_postgres(postgres: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server that may be killed; ``postgres`` has made sure that there can be one."""
    del postgres
    programs = find_programs()
    assert programs is not None
    with running_postgres(programs) as server:
        yield server
