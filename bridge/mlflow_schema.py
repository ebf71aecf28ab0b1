"""Whether a database has the tables of the MLflow that is installed here.

MLflow itself brings the tables of an older release up to date without asking, after which every
older client stops; of those of a newer one it says that they are out of date.
"""

import importlib.util
import re
from contextlib import closing
from enum import Enum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from bridge.tracking import TrackingUnavailableError
from bridge.tracking_uri import TrackingStore

TIMEOUT_SECONDS = 3
_VERSION_TABLE = "alembic_version"
_REVISION = re.compile(r'^(revision|down_revision) = "(\w+)"', re.MULTILINE)


class Tables(Enum):
    """What a database that can be used holds."""

    NONE = "none"
    """Nothing of MLflow's, or a beginning in which nobody has anything: they may be created."""
    CURRENT = "current"


class Release(NamedTuple):
    """The installed MLflow, as its tables go."""

    version: str
    head: str
    known: frozenset[str]
    """Every revision of the tables up to ``head``."""


def check_tables(store: TrackingStore) -> Tables:
    """Look at a database before MLflow does, and change nothing.

    Raises:
        TrackingUnavailableError: With the reason ``schema`` where the tables are those of another
            release; ``driver`` or ``unreachable`` where that cannot be found out.
    """
    release = installed_release()
    try:
        url = make_url(store.uri)
        timeout = "connect_timeout" if url.get_backend_name() == "postgresql" else "timeout"
        engine = create_engine(url, poolclass=NullPool, connect_args={timeout: TIMEOUT_SECONDS})
        with closing(engine.connect()) as connection:
            return _judge(connection, store, release)
    except (ImportError, NoSuchModuleError) as error:
        raise TrackingUnavailableError(
            f"{store.name} needs a driver that is not installed ({error}); postgresql:// uses "
            "psycopg: pip install 'psycopg[binary]'",
            "driver",
        ) from error
    except DBAPIError as error:
        problem = " ".join(store.redacted(str(error.orig)).split())
        raise TrackingUnavailableError(
            f"{store.name} cannot be used: {problem}", "unreachable"
        ) from error


@cache
def installed_release() -> Release:
    """Read what the installed MLflow knows, without importing it.

    Raises:
        TrackingUnavailableError: It is not installed.
    """
    found = importlib.util.find_spec("mlflow")
    if found is None or found.origin is None:
        raise TrackingUnavailableError(
            "MLflow is not installed: pip install -r requirements.txt", "driver"
        )
    scripts = Path(found.origin).parent / "store" / "db_migrations" / "versions"
    lines = [line for file in scripts.glob("*.py") for line in _REVISION.findall(file.read_text())]
    known = {revision for kind, revision in lines if kind == "revision"}
    [head] = known - {revision for kind, revision in lines if kind == "down_revision"}
    return Release(version("mlflow"), head, frozenset(known))


def _judge(connection: Connection, store: TrackingStore, release: Release) -> Tables:
    present = set(inspect(connection).get_table_names())
    of_mlflow = "experiments" in present
    revision: str | None = None
    if _VERSION_TABLE in present:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision == release.head:
        return Tables.CURRENT
    if revision is not None and revision not in release.known:
        owner = "a newer MLflow" if of_mlflow else "another program"
        raise TrackingUnavailableError(
            f"{store.name} was written by {owner} (its tables have version {revision}, MLflow "
            f"{release.version} here knows none after {release.head}): "
            + (
                "install that MLflow here too, or let an MLflow server speak to the database"
                if of_mlflow
                else "give MLflow a database of its own"
            ),
            "schema",
        )
    if not of_mlflow or connection.scalar(text("SELECT count(*) FROM experiments")) == 0:
        # Even the first experiment comes after the last table: MLflow was stopped while creating
        # them, and may go on.
        return Tables.NONE
    raise TrackingUnavailableError(
        f"{store.name} has the tables of an older MLflow (version {revision}; MLflow "
        f"{release.version} has {release.head}), and bringing them up to date stops every older "
        "client: back the database up, stop what writes to it, then "
        f"mlflow db upgrade {store.name}"
        + (" (with the password in place of ***)" if store.password else ""),
        "schema",
    )
