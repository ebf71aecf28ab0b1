"""Baselines: every one that was set; the newest of a model version is the one in force."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select

from service.monitoring.baseline import Baseline
from service.state.database import Database
from service.state.errors import StateError
from service.state.schema import baselines


class BaselineRevision(NamedTuple):
    """A baseline as it was stored."""

    revision: int
    """Grows with every baseline that is set, over all models."""
    baseline: Baseline


class Baselines:
    """The baselines that were set, shared by all workers and hosts.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, baseline: Baseline) -> int:
        """Make a baseline the one in force; durable when its revision is returned."""
        with self._database.writing() as connection:
            revision: int = connection.execute(
                baselines.insert()
                .values(
                    model_name=baseline.model_name,
                    model_version=baseline.model_version,
                    content=baseline.to_json(),
                    created_at=baseline.created_at.isoformat(),
                    created_by=baseline.created_by,
                )
                .returning(baselines.c.revision)
            ).scalar_one()
            return revision

    def active(self, model_name: str, model_version: str) -> BaselineRevision | None:
        """Return the newest baseline that was set for this version of the model."""

        def newest(connection: Connection) -> BaselineRevision | None:
            row = connection.execute(
                _ACTIVE, {"model_name": model_name, "model_version": model_version}
            ).first()
            return None if row is None else _decoded(row)

        return self._database.remembered((Baselines, model_name, model_version), newest)

    def revisions(self, model_name: str) -> Sequence[BaselineRevision]:
        """List all that were set for any version of the model, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(baselines.c.revision, baselines.c.content)
                .where(baselines.c.model_name == model_name)
                .order_by(baselines.c.revision)
            ).all()
        return [_decoded(row) for row in rows]


_ACTIVE = (
    select(baselines.c.revision, baselines.c.content)
    .where(
        baselines.c.model_name == bindparam("model_name"),
        baselines.c.model_version == bindparam("model_version"),
    )
    .order_by(baselines.c.revision.desc())
    .limit(1)
)


def _decoded(row: Row[*tuple[Any, ...]]) -> BaselineRevision:
    try:
        return BaselineRevision(row.revision, Baseline.from_json(row.content))
    except ValueError as error:
        raise StateError(f"stored baseline {row.revision} cannot be read: {error}") from error
