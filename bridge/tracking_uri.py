"""Which tracking store a URI means; MLflow's own reading has traps."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import make_url

DATABASE_FILE, ARTIFACTS_FOLDER = "mlflow.db", "mlruns"


class UnusableTrackingUriError(ValueError):
    """The URI cannot be used; the message says what to give instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingStore:
    """Where the history goes."""

    uri: str
    """As MLflow's client takes it."""
    name: str
    """The same without a password, for people and for comparison."""
    artifact_location: str | None = None
    """Of the experiment, where it is not the server that decides."""
    database: Path | None = None
    """SQLite file."""
    doubles_points: bool = False
    """Whether a point that is told twice is there twice: the file store."""
    warning: str = ""
    """What an operator should know about the choice."""

    def prepare(self) -> None:
        """Make the store fit for several readers beside one writer."""
        if self.doubles_points:
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        if self.database is not None:
            self.database.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.database)) as connection:
                # The file keeps it: without it a reader waits for a writer, 20 s.
                connection.execute("PRAGMA journal_mode = WAL")


def tracking_store(given: str | None, folder: Path, *, strict_files: bool = False) -> TrackingStore:
    """Work out what a tracking URI means.

    Args:
        given: ``MLFLOW_TRACKING_URI``; None for SQLite in ``folder``.
        folder: What relative paths are relative to.
        strict_files: Whether a file store is really wanted.

    Raises:
        UnusableTrackingUriError: MLflow has no store of that kind.
    """
    if not given:
        return _sqlite(folder.absolute() / DATABASE_FILE)
    scheme = urlsplit(given).scheme.lower()
    if scheme in {"", "file"}:
        return _files(_path_of(given, folder), strict=strict_files, given=given)
    if scheme == "sqlite":
        database = make_url(given).database
        if not database or database == ":memory:":
            raise UnusableTrackingUriError("give a file, such as sqlite:///mlflow.db")
        return _sqlite((folder / database).absolute())
    if scheme in {"http", "https"}:
        return TrackingStore(uri=given, name=_without_password(given))
    if scheme.startswith("postgres"):
        url = make_url(given)
        if url.drivername in {"postgres", "postgresql"}:
            url = url.set(drivername="postgresql+psycopg")
        return TrackingStore(
            uri=url.render_as_string(hide_password=False),
            name=url.render_as_string(hide_password=True),
            artifact_location=(folder.absolute() / ARTIFACTS_FOLDER).as_uri(),
        )
    raise UnusableTrackingUriError(
        f"MLFLOW_TRACKING_URI: {scheme}: is no store of the history; give sqlite:///mlflow.db, "
        "postgresql://user:password@host/database, or http://host:5000"
    )


def _sqlite(file: Path, warning: str = "") -> TrackingStore:
    return TrackingStore(
        uri=f"sqlite:///{file}",
        name=f"sqlite:///{file}",
        artifact_location=(file.parent / ARTIFACTS_FOLDER).as_uri(),
        database=file,
        warning=warning,
    )


def _files(runs: Path, *, strict: bool, given: str) -> TrackingStore:
    in_use = any(runs.glob("[0-9]*/meta.yaml"))
    if strict or in_use:
        target = f"sqlite:///{runs.parent / DATABASE_FILE}"
        return TrackingStore(
            uri=runs.as_uri(),
            name=runs.as_uri(),
            artifact_location=None,
            doubles_points=True,
            warning=f"{given} is a file store, which MLflow has retired and which is slow; "
            f"to leave it: mlflow migrate-filestore --source {runs} --target {target}",
        )
    database = runs.parent / DATABASE_FILE
    return _sqlite(
        database,
        f"{given} names a file store, which MLflow has retired: runs go to sqlite:///{database} "
        f"beside it, where a plain `mlflow ui` in {runs.parent} shows them, artifacts to {runs}",
    )


def _path_of(given: str, folder: Path) -> Path:
    parts = urlsplit(given)
    # In file://./mlruns the dot is read as a host by others; it was meant as this folder.
    place = parts.netloc + parts.path if parts.netloc in {".", ".."} else parts.path
    return Path(os.path.normpath(folder.absolute() / unquote(place)))


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host).geturl()
