"""The connection to SQLite or PostgreSQL: transactions, locks, and errors in our own words."""

import sqlite3
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.state.errors import StateError, StateUnavailableError
from service.state.memory import Memory
from service.state.schema import is_current, migrate

_SCHEMA_LOCK = 0x637472_01
_LAYOUT_LOCK = 0x637472_02
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
_RETRY_SECONDS = 0.02
_STATEMENT_TIMEOUTS, _ANSWER_TIMEOUTS = 4, 5
"""How many times as long as for a lock a statement may take on a server of PostgreSQL, and how
many times as long until it counts as gone."""

_T = TypeVar("_T")


class Database:
    """An open database whose tables are those of this release.

    May be used by several threads at once, but not by a process that was forked after opening.
    """

    def __init__(self, url: URL, timeout_seconds: float) -> None:
        self._secrets = _secrets(url)
        self._name = url.set(password=None, query={}).render_as_string()
        self._timeout_seconds = timeout_seconds
        engine = create_engine(url, pool_timeout=timeout_seconds, **_options(url, timeout_seconds))
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", self._set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            event.listen(engine, "do_connect", partial(_connect_to_postgres, timeout_seconds))
        self._reader = engine.execution_options(
            **({} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"})
        )
        self._writer = engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._memory = Memory(
            Path(url.database) if engine.dialect.name == "sqlite" and url.database else None
        )

    @classmethod
    def open(cls, url: str | Path, timeout_seconds: float) -> Self:
        """Connect, and create or update the tables where that is needed.

        Raises:
            StateError: The URL, the database or its version cannot be used.
            StateUnavailableError: The database does not answer.
        """
        parsed = _file_url(url) if isinstance(url, Path) else _parsed(url)
        database = cls(parsed, timeout_seconds)
        try:
            with database.reading() as connection:
                current = is_current(connection)
            if not current:
                with database.writing() as connection:
                    _lock(connection, _SCHEMA_LOCK)
                    migrate(connection)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def refuse_newer(cls, url: str | Path, timeout_seconds: float) -> None:
        """Look whether a later release wrote the tables, and change nothing.

        Raises:
            StateError: It did, or the URL or the database cannot be used.
            StateUnavailableError: The database does not answer.
        """
        parsed = _file_url(url) if isinstance(url, Path) else _parsed(url)
        if parsed.get_dialect().name == "sqlite" and not Path(parsed.database or "").exists():
            return  # To look would create it.
        with closing(cls(parsed, timeout_seconds)) as database, database.reading() as connection:
            is_current(connection)

    def close(self) -> None:
        """Close all connections."""
        self._memory.close()
        self._writer.dispose()

    def remembered(self, key: Hashable, read: Callable[[Connection], _T]) -> _T:
        """Give what ``read`` makes of the database; not asked again until somebody commits.

        Args:
            key: Equal only for what reads the same.
            read: Its answer is shared by all who ask, so nobody may change it.
        """

        def ask() -> _T:
            with self.reading() as connection:
                return read(connection)

        return self._memory.recall(key, ask)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a transaction that sees one state of the database throughout."""
        with self._own_errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run a transaction that is durable when the block is left, or undone by an error."""
        with self._own_errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if getattr(error.orig, "sqlite_errorname", None) in _DAMAGED:
                raise StateError(
                    f"{self._name} is damaged or not a database ({self._reason(error)}): "
                    "restore a backup, or move the file away to start afresh"
                ) from error
            if isinstance(error, IntegrityError | ProgrammingError):
                raise StateError(f"{self._name}: {self._reason(error)}") from error
            raise StateUnavailableError(
                f"{self._name} is not available: {self._reason(error)}"
            ) from error
        except PoolTimeoutError as error:
            raise StateUnavailableError(
                f"{self._name} is not available: all connections have been busy "
                f"for {self._timeout_seconds:g} s"
            ) from error
        except SQLAlchemyError as error:
            raise StateError(f"{self._name}: {error}") from error

    def _reason(self, error: DBAPIError) -> str:
        reason = " ".join(str(error.orig).split())
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        # SQLite says so of a full disk too, where it finds no room for its index of what is new.
        if getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_IOERR"):
            reason += ": the disk is full, or it fails"
        return reason

    def _set_up_sqlite(self, connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # Transactions begin where `_begin_sqlite` says.
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        # The first switch needs the file alone and does not wait for its turn by itself.
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return


def keep_layouts(connection: Connection) -> None:
    """Let nobody remove layouts until the transaction ends; others may add and use them."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _LAYOUT_LOCK})


def own_layouts(connection: Connection) -> None:
    """Let nobody add or use layouts until the transaction ends."""
    _lock(connection, _LAYOUT_LOCK)


def _lock(connection: Connection, key: int) -> None:
    if connection.dialect.name == "postgresql":  # A writer of SQLite is alone anyway.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _file_url(file: Path) -> URL:
    # Not by way of text: a question mark in a folder's name is no query.
    return URL.create("sqlite", database=str(file))


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
        if url.drivername in {"postgresql", "postgres"}:
            url = url.set(drivername="postgresql+psycopg")
        dialect = url.get_dialect().name
    except (ArgumentError, NoSuchModuleError, ValueError):
        # Without the cause: its message may quote a part of the password.
        raise StateError(
            "the URL of the state cannot be read; it should look like sqlite:////folder/state.db "
            "or postgresql://user:password@host:5432/database"
        ) from None
    if dialect not in {"sqlite", "postgresql"}:
        raise StateError(f"the state can be kept in SQLite or PostgreSQL, not in {dialect}")
    if dialect == "sqlite" and url.database in {None, "", ":memory:"}:
        raise StateError("the state needs a file, such as sqlite:////folder/state.db")
    return url


def _connect_to_postgres(
    timeout_seconds: float,
    _dialect: object,
    _record: object,
    arguments: Sequence[str],
    options: Mapping[str, Any],
) -> object:
    from service.state.patient_postgres import (  # noqa: PLC0415 - nothing of it is for SQLite
        PatientConnection,
    )

    # After the server's own time-outs, which say more.
    return PatientConnection.within(_ANSWER_TIMEOUTS * timeout_seconds, *arguments, **options)


def _options(url: URL, timeout_seconds: float) -> dict[str, Any]:
    if url.get_dialect().name == "sqlite":
        return {"connect_args": {"timeout": timeout_seconds}}
    milliseconds = round(timeout_seconds * 1000)
    return {
        "connect_args": {
            "connect_timeout": max(2, round(timeout_seconds)),
            "options": f"-c lock_timeout={milliseconds} "
            f"-c statement_timeout={_STATEMENT_TIMEOUTS * milliseconds}",
        },
        "pool_pre_ping": True,
        "pool_size": 2,
        "max_overflow": 6,
    }


def _secrets(url: URL) -> list[str]:
    values = [str(url.password)] if url.password else []
    values += [str(value) for name, value in url.query.items() if "password" in name]
    return values
