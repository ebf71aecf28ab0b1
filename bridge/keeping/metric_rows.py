"""All metrics of a run in one query, where the tracking store is a database.

MLflow's client asks for one metric name at a time: a daily run has about fifty.
"""

import math
from collections.abc import Collection, Sequence

from sqlalchemy import NullPool, bindparam, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from bridge.keeping.stored_runs import HistoryError
from service.monitoring.tracking import Point

_ALL = text("SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = :run_id")
_NAMED = text(f"{_ALL.text} AND key IN :names").bindparams(bindparam("names", expanding=True))


class MetricRows:
    """The table of metrics in MLflow's database."""

    def __init__(self, uri: str) -> None:
        self._engine = create_engine(uri, poolclass=NullPool)

    def points(self, run_id: str, names: Collection[str] | None) -> Sequence[Point]:
        """Give the points of a run, in no order; of some metrics or, with None, of all.

        Raises:
            HistoryError: The database does not answer.
        """
        given = {} if names is None else {"names": sorted(names)}
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(
                    _ALL if names is None else _NAMED, {"run_id": run_id, **given}
                )
                return [
                    Point(key, math.nan if is_nan else float(value), timestamp, step)
                    for key, value, timestamp, step, is_nan in rows
                ]
        except SQLAlchemyError as error:
            raise HistoryError(f"the history cannot be read: {error}") from error
