"""Clicks, each counted once, added up by the minute of the prediction that they belong to."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, delete, func, select

from service.monitoring.buckets import PREDICTION_BOUNDS, bucket_of
from service.monitoring.cells import CELLS
from service.monitoring.clicks import Click, ClickSums, negative_log, negative_log_complement
from service.monitoring.counts import ModelVersion
from service.state.database import Database
from service.state.schema import assigned_clicks, click_cohorts, clicked
from service.state.upsert import insert


class Clicks:
    """The clicks of all instances that share the state.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, clicks: Sequence[Click]) -> Collection[bytes]:
        """Count clicks on predictions that have none yet; durable when it returns.

        Args:
            clicks: Each key at most once.

        Returns:
            The keys that were counted now; the others had been before.
        """
        if not clicks:
            return frozenset()
        with self._database.writing() as connection:
            # Sorted: two writers of PostgreSQL that lock the same rows never deadlock.
            new = frozenset(
                connection.scalars(
                    insert(connection, clicked).on_conflict_do_nothing().returning(clicked.c.key),
                    [{"key": click.key, "minute": click.minute} for click in sorted(clicks)],
                )
            )
            _add([click for click in clicks if click.key in new], connection)
        return new

    def sums(
        self, model: ModelVersion, start: float, end: float, *, origin: int | None
    ) -> ClickSums:
        """Add up the clicks on the predictions of whole minutes.

        Args:
            model: Which model version predicted.
            start: First minute, in Unix seconds.
            end: The minute after the last.
            origin: Which instance predicted; None for all of them.
        """

        def added(connection: Connection) -> ClickSums:
            rows = connection.execute(
                select(click_cohorts.c.bucket, *_sums_of_cohorts())
                .where(*_cohorts(model, start, end, origin))
                .group_by(click_cohorts.c.bucket)
            ).mappings()
            return _click_sums(rows.all())

        return self._database.remembered((Clicks, model, start, end, origin), added)

    def sums_by_minute(
        self, model: ModelVersion, start: float, end: float, *, origin: int | None
    ) -> Mapping[int, ClickSums]:
        """Add up clicks as :meth:`sums` does, for each minute that has any."""
        columns = click_cohorts.c
        with self._database.reading() as connection:
            rows = (
                connection.execute(
                    select(columns.bucket, *_sums_of_cohorts(), columns.minute)
                    .where(*_cohorts(model, start, end, origin))
                    .group_by(columns.minute, columns.bucket)
                )
                .mappings()
                .all()
            )
        by_minute: defaultdict[int, list[RowMapping]] = defaultdict(list)
        for row in rows:
            by_minute[row["minute"]].append(row)
        return {minute: _click_sums(of_minute) for minute, of_minute in by_minute.items()}

    def by_cell(
        self,
        experiment: int,
        model: ModelVersion,
        start: float,
        end: float,
        *,
        origin: int | None,
    ) -> NDArray[np.int64]:
        """Count clicks of users whom an experiment gave a model, shape ``(CELLS,)``.

        Args:
            experiment: Its fingerprint.
            model: Which model version predicted.
            start: First minute of the predictions, in Unix seconds.
            end: The minute after the last.
            origin: Which instance predicted; None for all of them.
        """
        columns = assigned_clicks.c
        with self._database.reading() as connection:
            rows = connection.execute(
                select(columns.cell, func.sum(columns.clicks))
                .where(
                    columns.experiment == experiment,
                    *_of_minutes(assigned_clicks, model, start, end, origin),
                )
                .group_by(columns.cell)
            ).all()
        found = np.zeros(CELLS, dtype=np.int64)
        for cell, clicks in rows:
            found[cell] = clicks
        return found

    def forget_before(self, *, expired: float, cohorts: float) -> None:
        """Drop what is not needed any more.

        Args:
            expired: Clicks on predictions before this, in Unix seconds, are refused by now.
            cohorts: No window reaches back before this, in Unix seconds.
        """
        with self._database.writing() as connection:
            connection.execute(delete(clicked).where(clicked.c.minute < expired))
            for table in (click_cohorts, assigned_clicks):
                connection.execute(delete(table).where(table.c.minute < cohorts))


@dataclass(slots=True)
class _Sums:
    clicks: int = 0
    prediction: float = 0.0
    negative_log: float = 0.0
    negative_log_complement: float = 0.0

    def add(self, prediction: float) -> None:
        self.clicks += 1
        self.prediction += prediction
        self.negative_log += negative_log(prediction)
        self.negative_log_complement += negative_log_complement(prediction)


_SUMS = ("clicks", "prediction", "negative_log", "negative_log_complement")


def _add(new: Sequence[Click], connection: Connection) -> None:
    cohorts: defaultdict[tuple[str, str, int, int, int], _Sums] = defaultdict(_Sums)
    cells: defaultdict[tuple[int, str, str, int, int, int], int] = defaultdict(int)
    for click in new:
        minute = click.minute
        bucket = bucket_of(click.prediction, PREDICTION_BOUNDS)
        cohorts[click.model, click.version, minute, click.origin, bucket].add(click.prediction)
        if click.cell is not None:
            cells[
                click.experiment, click.model, click.version, minute, click.origin, click.cell
            ] += 1
    _upsert(
        connection, click_cohorts, [(*key, *astuple(sums)) for key, sums in sorted(cohorts.items())]
    )
    _upsert(connection, assigned_clicks, [(*key, count) for key, count in sorted(cells.items())])


def _upsert(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows, or add their sums to the row that is there."""
    if not rows:
        return
    names = table.columns.keys()
    wanted = insert(connection, table)
    sums = {name: table.c[name] + wanted.excluded[name] for name in names if name in _SUMS}
    connection.execute(
        wanted.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums),
        [dict(zip(names, row, strict=True)) for row in rows],
    )


def _sums_of_cohorts() -> Sequence[ColumnElement[Any]]:
    return [func.sum(click_cohorts.c[name]).label(name) for name in _SUMS]


def _cohorts(
    model: ModelVersion, start: float, end: float, origin: int | None
) -> Sequence[ColumnElement[bool]]:
    return _of_minutes(click_cohorts, model, start, end, origin)


def _of_minutes(
    table: Table, model: ModelVersion, start: float, end: float, origin: int | None
) -> Sequence[ColumnElement[bool]]:
    return [
        table.c.model_name == model.model,
        table.c.model_version == model.version,
        table.c.minute >= start,
        table.c.minute < end,
        *([] if origin is None else [table.c.origin == origin]),
    ]


def _click_sums(rows: Sequence[RowMapping]) -> ClickSums:
    by_bucket = np.zeros(len(PREDICTION_BOUNDS) + 1)
    for row in rows:
        by_bucket[row["bucket"]] = row["clicks"]
    return ClickSums(
        prediction=sum(row["prediction"] for row in rows),
        negative_log=sum(row["negative_log"] for row in rows),
        negative_log_complement=sum(row["negative_log_complement"] for row in rows),
        by_bucket=by_bucket,
    )
