"""The durable state of the service, in one SQLite file or one PostgreSQL database."""

from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import and_, delete, select

from service.state.baselines import Baselines
from service.state.clicks import Clicks
from service.state.database import Database
from service.state.drift_samples import StoredDriftSamples
from service.state.history import StoredHistory
from service.state.keyed import KeyedValues
from service.state.leases import Leases
from service.state.outbox import Outbox
from service.state.sampled_windows import StoredSampledWindows
from service.state.schema import drift_samples, epochs, snapshots

TIMEOUT_SECONDS = 5.0


def open_state(url: str | Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> "State":
    """Open the state, creating or updating its tables where that is needed.

    Any number of processes may do so at the same time. A process that forks opens after the fork.

    Args:
        url: A file for SQLite, or a URL: ``sqlite:////folder/state.db`` or ``postgresql://user:password@host:port/database``.
        timeout_seconds: How long to wait for another writer, a connection, or the server.

    Raises:
        StateError: The URL is wrong, the file is damaged or not a database, or the state was
            written by a newer release.
        StateUnavailableError: The database does not answer.
    """
    return State(Database.open(url, timeout_seconds))


def refuse_newer_state(url: str | Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Look whether a later release wrote the state, and change nothing.

    Raises:
        StateError: It did, or the URL, the file or the database cannot be used.
        StateUnavailableError: The database does not answer.
    """
    Database.refuse_newer(url, timeout_seconds)


class State:
    """What survives a restart. Its parts may be used from several threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.baselines = Baselines(database)
        self.clicks = Clicks(database)
        self.leases = Leases(database)
        self.values = KeyedValues(database)

    def history(self, scope: str) -> StoredHistory:
        """Return the history of one scope, such as ``instance:host1``."""
        return StoredHistory(self._database, scope)

    def drift_samples(self, scope: str) -> StoredDriftSamples:
        """Return what drift detection said in one scope."""
        return StoredDriftSamples(self._database, scope)

    def outbox(self, scope: str) -> Outbox:
        """Return what MLflow is to be told of one scope."""
        return Outbox(self._database, scope)

    def sampled_windows(self, scope: str) -> StoredSampledWindows:
        """Return the individual predictions that the workers of one scope kept."""
        return StoredSampledWindows(self._database, scope)

    def forget_silent_scopes(self, since: float) -> None:
        """Drop the history of every scope that has stored nothing since then, in Unix seconds.

        An instance thins its own history only: without this, one whose name never comes back
        (as those of pods) would leave its last seven days for ever.
        """
        heard = epochs.alias()
        with self._database.writing() as connection:
            silent = connection.scalars(
                select(epochs.c.scope)
                .distinct()
                .where(
                    ~select(snapshots.c.tick)
                    .join_from(heard, snapshots, snapshots.c.epoch_id == heard.c.id)
                    .where(and_(heard.c.scope == epochs.c.scope, snapshots.c.tick >= since))
                    .exists()
                )
            ).all()
            ids = select(epochs.c.id).where(epochs.c.scope.in_(silent))
            connection.execute(delete(snapshots).where(snapshots.c.epoch_id.in_(ids)))
            connection.execute(delete(epochs).where(epochs.c.scope.in_(silent)))
            connection.execute(delete(drift_samples).where(drift_samples.c.scope.in_(silent)))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
