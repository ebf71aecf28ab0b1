"""What drift detection said over time, kept as long as the history of the counters."""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import bindparam, delete, select

from service.monitoring.drift.sample import DriftSample
from service.monitoring.history import HISTORY_SECONDS, TICKS_KEPT_SECONDS
from service.state.database import Database
from service.state.errors import StateError
from service.state.schema import drift_samples
from service.state.upsert import insert

_MINUTE_SECONDS = 60
_SAMPLES_REMEMBERED = 1024
"""More than the last hour of two models."""


class StoredDriftSamples:
    """The samples of one scope.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, database: Database, scope: str) -> None:
        self._database = database
        self._scope = scope
        # The first word stands, so the same text is asked for again and again.
        self._parsed = lru_cache(maxsize=_SAMPLES_REMEMBERED)(DriftSample.from_json)

    def append(self, tick: int, model_name: str, sample: DriftSample) -> None:
        """Store what was said at the boundary ``tick``, in Unix seconds; the first word stands."""
        with self._database.writing() as connection:
            connection.execute(
                insert(connection, drift_samples)
                .values(
                    scope=self._scope, model_name=model_name, tick=tick, content=sample.to_json()
                )
                .on_conflict_do_nothing()
            )

    def between(self, model_name: str, start: float, end: float) -> Sequence[DriftSample]:
        """List what was said at ticks from ``start`` to ``end``, both included, oldest first."""
        with self._database.reading() as connection:
            found = connection.scalars(
                _BETWEEN,
                {"scope": self._scope, "model": model_name, "start": start, "end": end},
            ).all()
        try:
            return [self._parsed(content) for content in found]
        except ValueError as error:
            raise StateError(f"a stored sample cannot be read: {error}") from error

    def thin(
        self,
        now: float,
        *,
        ticks_kept_seconds: float = TICKS_KEPT_SECONDS,
        history_seconds: float = HISTORY_SECONDS,
    ) -> None:
        """Keep every tick for some hours, whole minutes for some days."""
        own = drift_samples.c.scope == self._scope
        with self._database.writing() as connection:
            connection.execute(
                delete(drift_samples).where(
                    own,
                    drift_samples.c.tick <= now - ticks_kept_seconds,
                    drift_samples.c.tick % _MINUTE_SECONDS != 0,
                )
            )
            connection.execute(
                delete(drift_samples).where(own, drift_samples.c.tick < now - history_seconds)
            )


_BETWEEN = (
    select(drift_samples.c.content)
    .where(
        drift_samples.c.scope == bindparam("scope"),
        drift_samples.c.model_name == bindparam("model"),
        drift_samples.c.tick.between(bindparam("start"), bindparam("end")),
    )
    .order_by(drift_samples.c.tick)
)
