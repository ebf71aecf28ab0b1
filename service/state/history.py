"""Stored snapshots: one row a tick, exact, found by time through an index."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
)

from service.monitoring.counters import Counters, Layout
from service.monitoring.history import HISTORY_SECONDS, TICKS_KEPT_SECONDS, Tick
from service.monitoring.snapshot import Snapshot
from service.state.database import Database, keep_layouts, own_layouts
from service.state.encoding import decode_counters, decode_series, encode_values, stored_layout
from service.state.errors import StateError
from service.state.schema import epochs, layouts, snapshots
from service.state.upsert import insert

_MINUTE_SECONDS = 60
_PAGE_ROWS = 256
_LAYOUTS_REMEMBERED = 64
_NEAR_SECONDS = 5
_NEAR_ROWS = 3

_Row = Row[*tuple[Any, ...]]


class StoredHistory:
    """The history of one scope; implements `service.monitoring.history.History`.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
        StateError: In those that read, when what is stored is damaged.
    """

    def __init__(self, database: Database, scope: str) -> None:
        self._database = database
        self._scope = scope
        # Statements that every answer needs are put together once.
        latest = self._rows().order_by(epochs.c.epoch.desc(), snapshots.c.tick.desc()).limit(1)
        earliest = self._rows().order_by(epochs.c.epoch, snapshots.c.tick).limit(1)
        self._earliest = earliest
        self._at_boundary = latest.where(snapshots.c.tick <= bindparam("tick"))
        self._newest = self._at_boundary.limit(bindparam("count"))
        self._window_start = latest.where(
            snapshots.c.tick <= bindparam("start"),
            snapshots.c.at <= bindparam("start"),
            epochs.c.epoch <= bindparam("epoch"),
        )
        self._history_start = earliest.where(
            or_(
                epochs.c.epoch < bindparam("epoch"),
                and_(epochs.c.epoch == bindparam("epoch"), snapshots.c.at <= bindparam("at")),
            )
        )
        self._layouts: dict[int, Layout] = {}

    def append(self, tick: float, snapshot: Snapshot) -> None:
        """Store a tick's counters; see the port."""
        if not tick <= snapshot.at:
            raise ValueError(f"a snapshot read at {snapshot.at} is not of the later tick {tick}")
        _check_finite(tick, snapshot)
        with self._database.writing() as connection:
            epoch_id = self._epoch_id(connection, snapshot.epoch)
            newest = _newest(connection, epoch_id)
            if newest is not None and (newest.final or newest.tick >= tick):
                return
            _insert(connection, epoch_id, Tick(tick, final=False, snapshot=snapshot))

    def append_final(self, snapshot: Snapshot) -> None:
        """Store the totals that an epoch ended with; see the port."""
        _check_finite(snapshot.at, snapshot)
        with self._database.writing() as connection:
            epoch_id = self._epoch_id(connection, snapshot.epoch)
            newest = _newest(connection, epoch_id)
            if newest is not None and newest.final:
                return
            tick = snapshot.at
            if newest is not None and newest.tick >= tick:
                # The clock was set back since the last tick; the end is last all the same.
                tick = math.nextafter(newest.tick, math.inf)
            _insert(connection, epoch_id, Tick(tick, final=True, snapshot=snapshot))

    def last_epoch(self) -> float | None:
        """Epoch of the newest life; see the port."""
        with self._database.reading() as connection:
            newest: float | None = connection.scalar(
                select(func.max(epochs.c.epoch)).where(epochs.c.scope == self._scope)
            )
            return newest

    def span(self) -> tuple[float, float] | None:
        """First and last tick; see the port."""
        with self._database.reading() as connection:
            first, last = connection.execute(
                select(func.min(snapshots.c.tick), func.max(snapshots.c.tick))
                .join_from(epochs, snapshots, snapshots.c.epoch_id == epochs.c.id)
                .where(epochs.c.scope == self._scope)
            ).one()
            return None if first is None else (first, last)

    def at_or_before(self, at: float) -> Snapshot | None:
        """Latest snapshot read by then; see the port."""
        with self._database.reading() as connection:
            row = self._latest(connection, snapshots.c.tick <= at, snapshots.c.at <= at)
            return None if row is None else self._snapshot(connection, row)

    def at_boundary(self, tick: float) -> Snapshot | None:
        """Latest snapshot whose tick is not later; see the port."""
        near, complete = self._near(tick)
        for row in near:
            if row.tick <= tick:
                return row.snapshot
        if complete:
            return None
        with self._database.reading() as connection:
            found = connection.execute(self._at_boundary, {"tick": tick}).first()
            return None if found is None else self._snapshot(connection, found)

    def window_rows(self, start: float, end: Snapshot) -> Sequence[Snapshot]:
        """Return what a window needs besides its end; see the port."""
        start = min(start, end.at)
        near, complete = self._near(start)
        rows: Sequence[Snapshot] = [
            row.snapshot for row in near if row.tick <= start and row.snapshot.at <= start
        ]
        if not rows and complete:
            rows = self._oldest()
        # Of one life, as nearly always.
        if rows and rows[0].epoch == end.epoch and rows[0].at <= end.at:
            return rows[:1]
        with self._database.reading() as connection:
            return self._window_rows(connection, start, end)

    def ticks(self, start: float, end: float) -> Iterator[Tick]:
        """Iterate over a range of ticks; see the port."""
        for epoch_id in self._epochs_between(start, end):
            lowest = start
            while page := self._page(epoch_id, lowest, end):
                yield from page
                lowest = math.nextafter(page[-1].tick, math.inf)

    def thin(
        self,
        now: float,
        *,
        ticks_kept_seconds: float = TICKS_KEPT_SECONDS,
        history_seconds: float = HISTORY_SECONDS,
    ) -> None:
        """Drop rows that no window needs any more; see the port."""
        with self._database.writing() as connection:
            self._drop_within_minutes(connection, now - ticks_kept_seconds)
            self._drop_before(connection, now - history_seconds)
        with self._database.writing() as connection:
            own_layouts(connection)
            used = select(snapshots.c.tick).where(snapshots.c.layout_id == layouts.c.id).exists()
            connection.execute(delete(layouts).where(~used))

    def _near(self, time: float) -> tuple[Sequence[Tick], bool]:
        """Give the newest few rows of ``time`` or a little later, newest first, and if it is all.

        Times that are near share what is remembered: a window of the last hour begins a little
        later with every question.
        """
        last = time
        if math.isfinite(time):
            last = math.ceil(time / _NEAR_SECONDS) * _NEAR_SECONDS
        # At a boundary of the clock the first is the one.
        count = _NEAR_ROWS if last > time else 1

        def newest(connection: Connection) -> Sequence[Tick]:
            rows = connection.execute(self._newest, {"tick": last, "count": count}).all()
            return [Tick(row.tick, row.final, self._snapshot(connection, row)) for row in rows]

        rows = self._database.remembered((StoredHistory, self._scope, last, count), newest)
        return rows, len(rows) < count

    def _oldest(self) -> Sequence[Snapshot]:
        def oldest(connection: Connection) -> Sequence[Snapshot]:
            rows = connection.execute(self._earliest).all()
            return [self._snapshot(connection, row) for row in rows]

        return self._database.remembered((StoredHistory, self._scope), oldest)

    def _window_rows(
        self, connection: Connection, start: float, end: Snapshot
    ) -> Sequence[Snapshot]:
        first = (
            connection.execute(self._window_start, {"start": start, "epoch": end.epoch}).first()
            or connection.execute(self._history_start, {"epoch": end.epoch, "at": end.at}).first()
        )
        if first is None:
            return ()
        if first.epoch == end.epoch:
            return (self._snapshot(connection, first),)
        last_tick = (
            select(func.max(snapshots.c.tick))
            .where(snapshots.c.epoch_id == epochs.c.id)
            .correlate(epochs)
            .scalar_subquery()
        )
        ended = connection.execute(
            self._rows()
            .where(
                epochs.c.epoch >= first.epoch,
                epochs.c.epoch < end.epoch,
                snapshots.c.tick == last_tick,
            )
            .order_by(epochs.c.epoch)
        ).all()
        rows = [first, *(row for row in ended if _place(row) != _place(first))]
        return [self._snapshot(connection, row) for row in rows]

    def _drop_before(self, connection: Connection, edge: float) -> None:
        """Drop what comes before the newest row at or before ``edge``.

        What is dropped is a beginning of history, never something in its midst: else the end of
        an epoch could be missing between two rows that stay.
        """
        first_kept = self._first(connection, snapshots.c.at > edge)
        start = self._latest(connection, *(() if first_kept is None else (_before(first_kept),)))
        if start is None:
            return
        earlier = and_(epochs.c.scope == self._scope, epochs.c.epoch < start.epoch)
        connection.execute(
            delete(snapshots).where(
                snapshots.c.epoch_id.in_(select(epochs.c.id).where(earlier)),
            )
        )
        connection.execute(delete(epochs).where(earlier))
        connection.execute(
            delete(snapshots).where(
                snapshots.c.epoch_id == start.epoch_id,
                snapshots.c.tick < start.tick,
            )
        )

    def _drop_within_minutes(self, connection: Connection, edge: float) -> None:
        """Of ticks at or before ``edge`` keep the last of each epoch and minute."""
        later = snapshots.alias()
        connection.execute(
            delete(snapshots).where(
                snapshots.c.epoch_id.in_(select(epochs.c.id).where(epochs.c.scope == self._scope)),
                snapshots.c.tick <= edge,
                select(later.c.tick)
                .where(
                    later.c.epoch_id == snapshots.c.epoch_id,
                    later.c.tick > snapshots.c.tick,
                    later.c.tick <= snapshots.c.minute_end,
                )
                .exists(),
            )
        )

    def _epoch_id(self, connection: Connection, epoch: float) -> int:
        """Find the epoch's row, making it where needed, and keep it from other writers."""
        wanted = (
            select(epochs.c.id)
            .where(epochs.c.scope == self._scope, epochs.c.epoch == epoch)
            .with_for_update()
        )
        found: int | None = connection.scalar(wanted)
        if found is None:
            connection.execute(
                insert(connection, epochs)
                .values(scope=self._scope, epoch=epoch)
                .on_conflict_do_nothing()
            )
            found = connection.execute(wanted).scalar_one()
        return found

    def _rows(self) -> Select[Any]:
        return (
            select(
                epochs.c.epoch,
                snapshots.c.epoch_id,
                snapshots.c.tick,
                snapshots.c.final,
                snapshots.c.at,
                snapshots.c.layout_id,
                snapshots.c.counters,
            )
            .join_from(epochs, snapshots, snapshots.c.epoch_id == epochs.c.id)
            .where(epochs.c.scope == self._scope)
        )

    def _first(self, connection: Connection, *conditions: ColumnElement[bool]) -> _Row | None:
        return connection.execute(
            self._rows().where(*conditions).order_by(epochs.c.epoch, snapshots.c.tick).limit(1)
        ).first()

    def _latest(self, connection: Connection, *conditions: ColumnElement[bool]) -> _Row | None:
        return connection.execute(
            self._rows()
            .where(*conditions)
            .order_by(epochs.c.epoch.desc(), snapshots.c.tick.desc())
            .limit(1)
        ).first()

    def _epochs_between(self, start: float, end: float) -> Sequence[int]:
        within = (
            select(snapshots.c.tick)
            .where(snapshots.c.epoch_id == epochs.c.id, snapshots.c.tick.between(start, end))
            .exists()
        )
        with self._database.reading() as connection:
            return connection.scalars(
                select(epochs.c.id)
                .where(epochs.c.scope == self._scope, within)
                .order_by(epochs.c.epoch)
            ).all()

    def _page(self, epoch_id: int, lowest: float, end: float) -> list[Tick]:
        with self._database.reading() as connection:
            rows = connection.execute(
                self._rows()
                .where(epochs.c.id == epoch_id, snapshots.c.tick.between(lowest, end))
                .order_by(snapshots.c.tick)
                .limit(_PAGE_ROWS)
            ).all()
            return [Tick(row.tick, row.final, self._snapshot(connection, row)) for row in rows]

    def _snapshot(self, connection: Connection, row: _Row) -> Snapshot:
        try:
            layout = self._layout(connection, row.layout_id)
            counters = decode_counters(layout, row.counters)
        except ValueError as error:
            raise StateError(
                f"the snapshot stored for {row.tick:.0f} is damaged ({error}): "
                "restore a backup of the state, or move it away to start afresh"
            ) from error
        return Snapshot(at=row.at, epoch=row.epoch, counters=counters, gauges={})

    def _layout(self, connection: Connection, layout_id: int) -> Layout:
        layout = self._layouts.get(layout_id)
        if layout is None:
            content = connection.execute(
                select(layouts.c.content).where(layouts.c.id == layout_id)
            ).scalar_one()
            layout = Layout(decode_series(content))
            if len(self._layouts) >= _LAYOUTS_REMEMBERED:
                self._layouts = {}
            self._layouts[layout_id] = layout
        return layout


def _newest(connection: Connection, epoch_id: int) -> _Row | None:
    return connection.execute(
        select(snapshots.c.tick, snapshots.c.final)
        .where(snapshots.c.epoch_id == epoch_id)
        .order_by(snapshots.c.tick.desc())
        .limit(1)
    ).first()


def _insert(connection: Connection, epoch_id: int, row: Tick) -> None:
    counters = Counters.of(row.snapshot.counters)
    layout = counters.layout.once(stored_layout)
    keep_layouts(connection)
    wanted = select(layouts.c.id).where(layouts.c.digest == layout.digest)
    layout_id = connection.scalar(wanted)
    if layout_id is None:
        connection.execute(
            insert(connection, layouts)
            .values(digest=layout.digest, content=layout.content)
            .on_conflict_do_nothing()
        )
        layout_id = connection.execute(wanted).scalar_one()
    connection.execute(
        snapshots.insert().values(
            epoch_id=epoch_id,
            tick=row.tick,
            minute_end=math.ceil(row.tick / _MINUTE_SECONDS) * _MINUTE_SECONDS,
            final=row.final,
            at=row.snapshot.at,
            layout_id=layout_id,
            counters=encode_values(counters, layout),
        )
    )


def _place(row: _Row) -> tuple[float, float]:
    return row.epoch, row.tick


def _before(row: _Row) -> ColumnElement[bool]:
    return or_(
        epochs.c.epoch < row.epoch,
        and_(epochs.c.epoch == row.epoch, snapshots.c.tick < row.tick),
    )


def _check_finite(tick: float, snapshot: Snapshot) -> None:
    if not (math.isfinite(tick) and math.isfinite(snapshot.at) and math.isfinite(snapshot.epoch)):
        raise ValueError("a time of the snapshot is not a finite number of seconds")
