"""Copies of a PostgreSQL database by PostgreSQL's own programs."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, NullPool, create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from bridge.keeping.database_copies import COUNTED, Counts
from bridge.keeping.stored_runs import DamagedHistoryError, HistoryError

_TABLE = re.compile(rb'COPY (?:[\w"]+\.)?"?(\w+)"? \(')
_END = b"\\.\n"


def dump_postgres(uri: str, target: Path) -> Counts:
    """Write a dump of a database as it is at one instant; returns what is in it.

    Raises:
        HistoryError: The server does not answer, or ``pg_dump`` is missing or fails.
    """
    program = _program("pg_dump")
    with _connected(uri) as connection:
        # The counts and the dump see the same instant, however much is written meanwhile.
        snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
        counts = _counts(connection)
        options = ("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}")
        _call([program, *options, f"--file={target}", f"--dbname={_conninfo(uri)}"], uri)
    return counts


def dump_counts(dump: Path) -> Counts:
    """Read a whole dump and count what is in it; no server is needed.

    Raises:
        DamagedHistoryError: It cannot be read to its end.
        HistoryError: ``pg_restore`` is missing.
    """
    found = dict.fromkeys(COUNTED, 0)
    command = [_program("pg_restore"), "--data-only", "--file=-", str(dump)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101 - a pipe
        assert process.stderr is not None  # noqa: S101
        table = None
        for line in process.stdout:
            if table is None:
                match = _TABLE.match(line)
                table = match[1].decode() if match else None
            elif line == _END:
                table = None
            elif table in found:
                found[table] += 1
        problem = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise DamagedHistoryError(f"{dump} cannot be read: {problem}")
    return Counts(**found)


def locations_in_postgres(uri: str) -> Sequence[str]:
    """Where the experiments keep their artifacts."""
    with _connected(uri) as connection:
        rows = connection.scalars(text("SELECT DISTINCT artifact_location FROM experiments"))
        return [location for location in rows if location]


def refuse_used_postgres(uri: str) -> None:
    """Raise unless a database is empty.

    Raises:
        HistoryError: It has tables, or does not answer.
    """
    with _connected(uri) as connection:
        tables = inspect(connection).get_table_names()
    if tables:
        raise HistoryError(
            f"the database has {len(tables)} tables, such as {min(tables)}; a backup is restored "
            "into an empty one only: createdb"
        )


def restore_postgres(dump: Path, uri: str) -> None:
    """Fill an empty database from a dump, wholly or not at all.

    Raises:
        HistoryError: ``pg_restore`` is missing or fails.
    """
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _call([_program("pg_restore"), *options, f"--dbname={_conninfo(uri)}", str(dump)], uri)


def postgres_counts(uri: str) -> Counts:
    """Count what is in MLflow's database."""
    with _connected(uri) as connection:
        return _counts(connection)


@contextmanager
def _connected(uri: str) -> Iterator[Connection]:
    try:
        engine = create_engine(uri, poolclass=NullPool, isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise HistoryError(f"the database cannot be read: {error}") from error


def _counts(connection: Connection) -> Counts:
    return Counts(
        **{
            table: connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - ours
            for table in COUNTED
        }
    )


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise HistoryError(
            f"{name} is missing, without which PostgreSQL is not copied: "
            "sudo apt-get install postgresql-client, of the server's version or a newer one"
        )
    return found


def _call(command: Sequence[str], uri: str) -> None:
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
        command, env=_environment(uri), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise HistoryError(f"{Path(command[0]).name} failed: {said[-1000:]}")


def _conninfo(uri: str) -> str:
    """Where the database is; the password is not for the list of processes."""
    url = make_url(uri)
    return make_conninfo(
        **{name: value for name, value in url.query.items() if isinstance(value, str)},
        host=url.host,
        port=url.port,
        user=url.username,
        dbname=url.database,
    )


def _environment(uri: str) -> Mapping[str, str]:
    password = make_url(uri).password
    return {**os.environ, **({} if password is None else {"PGPASSWORD": str(password)})}
