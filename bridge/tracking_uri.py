"""Which tracking store a URI means; MLflow's own reading has traps."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.settings import Settings

DATABASE_FILE, ARTIFACTS_FOLDER = "mlflow.db", "mlruns"
_DRIVERS = {"psycopg", "psycopg2"}
_EXAMPLES = "sqlite:///mlflow.db, postgresql://user:password@host/database, or http://host:5000"


class UnusableTrackingUriError(ValueError):
    """The URI cannot be used; the message says what to give instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingStore:
    """Where the history goes."""

    uri: str = field(repr=False)
    """As MLflow's client takes it."""
    name: str
    """The same without a password, for people and for comparison."""
    artifact_location: str | None = None
    """Of the experiment, where it is not the server that decides."""
    database: Path | None = None
    """SQLite file."""
    files: Path | None = None
    """Folder of the file store; a point that is told twice is there twice."""
    password: str = field(default="", repr=False)
    """As it stands in the URI."""
    warning: str = ""
    """What an operator should know about the choice."""

    @property
    def doubles_points(self) -> bool:
        """Whether a point that is told twice is there twice."""
        return self.files is not None

    @property
    def is_server(self) -> bool:
        """Whether an MLflow server is asked."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def is_database(self) -> bool:
        """Whether MLflow's client writes into the tables itself."""
        return not self.is_server and self.files is None

    def redacted(self, text: str) -> str:
        """Take the password out of what others say."""
        text = text.replace(self.uri, self.name)
        if self.password:
            for secret in {self.password, unquote(self.password), quote(self.password, safe="")}:
                text = text.replace(secret, "***")
        return text

    def allow(self) -> None:
        """Let this process use the retired file store, where one is meant."""
        if self.doubles_points:
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

    def prepare(self) -> None:
        """Make the store fit for several readers beside one writer.

        Raises:
            OSError: The folder cannot be made.
            sqlite3.Error: The file cannot be opened or is no database.
        """
        self.allow()
        if self.database is not None:
            self.database.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.database)) as connection:
                # The file keeps it: without it a reader waits for a writer, 20 s.
                connection.execute("PRAGMA journal_mode = WAL")


def store_of(settings: Settings, folder: Path) -> TrackingStore:
    """Work out where the history goes; relative paths start in ``folder``.

    Raises:
        UnusableTrackingUriError: It cannot go there.
    """
    return tracking_store(
        settings.mlflow_tracking_uri,
        folder,
        strict_files=settings.mlflow_file_store == "strict",
    )


def tracking_store(given: str | None, folder: Path, *, strict_files: bool = False) -> TrackingStore:
    """Work out what a tracking URI means.

    Args:
        given: ``MLFLOW_TRACKING_URI``; None for SQLite in ``folder``.
        folder: What relative paths are relative to.
        strict_files: Whether a file store is really wanted.

    Raises:
        UnusableTrackingUriError: MLflow has no store of that kind.
    """
    given, folder = (given or "").strip(), folder.absolute()
    if not given:
        return _default(folder)
    try:
        parts = urlsplit(given)
        scheme, _ = parts.scheme.lower(), parts.port
    except ValueError:  # Its message may quote a part of the password.
        raise _unusable("cannot be read") from None
    if scheme == "file" or (not scheme and _is_path(given, folder)):
        return _files(_path_of(parts, folder), strict=strict_files, given=given)
    if scheme in {"http", "https"}:
        return _server(given, parts)
    if scheme == "sqlite" or scheme.partition("+")[0] in {"postgres", "postgresql"}:
        return _database(given, folder)
    if scheme:
        raise _unusable(f"{scheme}: is no store of the history")
    raise _unusable("this is neither a URL nor a path that begins with / or .")


def _default(folder: Path) -> TrackingStore:
    database, runs = folder / DATABASE_FILE, folder / ARTIFACTS_FOLDER
    if not _holds_runs(runs):
        return _sqlite(database)
    return _sqlite(
        database,
        f"{runs} is an old file store, which a plain `mlflow ui` in {folder} would open instead of "
        f"{database}: mlflow ui --backend-store-uri sqlite:///{database}",
    )


def _sqlite(file: Path, warning: str = "") -> TrackingStore:
    if "?" in str(file):
        raise _unusable(f"a question mark cannot stand in the path of a database: {file}")
    return TrackingStore(
        uri=f"sqlite:///{file}",
        name=f"sqlite:///{file}",
        artifact_location=(file.parent / ARTIFACTS_FOLDER).as_uri(),
        database=file,
        warning=warning,
    )


def _database(given: str, folder: Path) -> TrackingStore:
    try:
        url: URL = make_url(given)
    except (ArgumentError, ValueError):
        raise _unusable("cannot be read; characters such as @ in a password are quoted") from None
    backend, _, driver = url.drivername.partition("+")
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise _unusable("SQLite needs a file")
        return _sqlite(Path(os.path.normpath(folder / url.database)))
    if driver and driver not in _DRIVERS:
        raise _unusable(f"MLflow cannot use the driver {driver}; postgresql:// chooses psycopg")
    url = url.set(drivername=f"postgresql+{driver or 'psycopg'}")
    return TrackingStore(
        uri=url.render_as_string(hide_password=False),
        name=url.set(query={}).render_as_string(hide_password=True),
        artifact_location=(folder / ARTIFACTS_FOLDER).as_uri(),
        password=str(url.password or url.query.get("password") or ""),
    )


def _server(given: str, parts: SplitResult) -> TrackingStore:
    if not parts.hostname:
        raise _unusable("the URL names no host")
    host = parts.netloc.rpartition("@")[2]
    return TrackingStore(
        uri=given.rstrip("/"),
        name=parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/"),
        password=parts.password or "",
    )


def _files(runs: Path, *, strict: bool, given: str) -> TrackingStore:
    database = runs.parent / DATABASE_FILE
    if strict or _holds_runs(runs):
        return TrackingStore(
            uri=runs.as_uri(),
            name=runs.as_uri(),
            files=runs,
            warning=f"{given} is a file store, which MLflow has retired and which is slow; to "
            f"leave it: mlflow migrate-filestore --source {runs} --target sqlite:///{database}, "
            f"then MLFLOW_TRACKING_URI=sqlite:///{database}",
        )
    return _sqlite(
        database,
        f"{given} names a file store, which MLflow has retired: runs go to sqlite:///{database} "
        f"beside it, where a plain `mlflow ui` in {runs.parent} shows them, artifacts to "
        f"{runs.parent / ARTIFACTS_FOLDER}",
    )


def _holds_runs(folder: Path) -> bool:
    return any(folder.glob("[0-9]*/meta.yaml"))


def _is_path(given: str, folder: Path) -> bool:
    return given.startswith((".", "/")) or given == ARTIFACTS_FOLDER or (folder / given).is_dir()


def _path_of(parts: SplitResult, folder: Path) -> Path:
    # In file://./mlruns the dot is read as a host by others; it was meant as this folder.
    here = parts.netloc in {".", ".."}
    if not here and parts.netloc not in {"", "localhost"}:
        raise _unusable(
            f"file://{parts.netloc} names a host; write file:./{parts.netloc}{parts.path} or "
            "file:///absolute/path"
        )
    place = parts.netloc + parts.path if here else parts.path
    return Path(os.path.normpath(folder / unquote(place)))


def _unusable(problem: str) -> UnusableTrackingUriError:
    return UnusableTrackingUriError(f"MLFLOW_TRACKING_URI: {problem}; give {_EXAMPLES}")
