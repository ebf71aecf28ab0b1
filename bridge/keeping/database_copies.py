"""Consistent copies of MLflow's database while it is written: of SQLite and of PostgreSQL."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bridge.keeping.stored_runs import DamagedHistoryError, HistoryError

_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there is in a tracking store."""

    experiments: int
    runs: int
    tags: int
    params: int
    metrics: int
    """Points."""

    def lies_between(self, first: "Counts", second: "Counts") -> bool:
        """Whether every number is one that a store had which went from one to the other."""
        return all(
            min(getattr(first, table), getattr(second, table))
            <= getattr(self, table)
            <= max(getattr(first, table), getattr(second, table))
            for table in COUNTED
        )


COUNTED = ("experiments", "runs", "tags", "params", "metrics")


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database that may be in use, as it is at one instant.

    Raises:
        HistoryError: It cannot be read, or not be written there.
    """
    try:
        with closing(_opened(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise HistoryError(f"{source} cannot be copied: {error}") from error


def sqlite_counts(file: Path) -> Counts:
    """Count what is in MLflow's SQLite file.

    Raises:
        HistoryError: It is not MLflow's.
    """
    try:
        with closing(_opened(file)) as connection:
            return Counts(**{table: _rows(connection, table) for table in COUNTED})
    except sqlite3.Error as error:
        raise HistoryError(f"{file} is no history of MLflow: {error}") from error


def check_sqlite(file: Path) -> None:
    """Check every page and index of a copy.

    Raises:
        DamagedHistoryError: SQLite finds fault with it.
    """
    try:
        with closing(_opened(file)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchall()
    except sqlite3.Error as error:
        raise DamagedHistoryError(f"{file} is damaged: {error}") from error
    if found != [("ok",)]:
        raise DamagedHistoryError(f"{file} is damaged: {found[0][0]}")


def artifact_locations(file: Path) -> Sequence[str]:
    """Where the experiments of a SQLite file keep their artifacts."""
    with closing(_opened(file)) as connection:
        rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
        return [location for (location,) in rows if location]


def _opened(file: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(file.absolute()))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS)


def _rows(connection: sqlite3.Connection, table: str) -> int:
    [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - ours
    return int(count)
