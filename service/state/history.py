"""Stored snapshots: one row a tick, exact, found by time through an index."""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Row, Select, and_, delete, exists, func, select, tuple_

from service.monitoring.history import HISTORY_SECONDS, TICKS_KEPT_SECONDS, Tick
from service.monitoring.snapshot import Series, Snapshot
from service.state.database import Database, keep_layouts, own_layouts
from service.state.encoding import decode_counters, decode_series, encode_values, layout_of
from service.state.schema import epochs, layouts, snapshots
from service.state.upsert import insert

_MINUTE_SECONDS = 60
_PAGE_ROWS = 256
_LAYOUTS_REMEMBERED = 64

_Stored = Row[tuple[float, float, bool, float, int, bytes]]


class StoredHistory:
    """The history of one scope; implements `service.monitoring.history.History`.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, database: Database, scope: str) -> None:
        self._database = database
        self._scope = scope
        self._series: OrderedDict[int, tuple[Series, ...]] = OrderedDict()

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
            _insert(connection, epoch_id, Tick(tick, False, snapshot))  # noqa: FBT003

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
                # The clock was set back between the last tick and now; the end is last all the same.
                tick = math.nextafter(newest.tick, math.inf)
            _insert(connection, epoch_id, Tick(tick, True, snapshot))  # noqa: FBT003

    def last_epoch(self) -> float | None:
        """Epoch of the newest life; see the port."""
        with self._database.reading() as connection:
            return connection.scalar(
                select(func.max(epochs.c.epoch)).where(epochs.c.scope == self._scope)
            )

    def at_or_before(self, at: float) -> Snapshot | None:
        """Latest snapshot read by then; see the port."""
        with self._database.reading() as connection:
            row = self._latest_read_by(connection, at)
            return None if row is None else self._snapshot(connection, row)

    def at_boundary(self, tick: float) -> Snapshot | None:
        """Latest snapshot whose tick is not later; see the port."""
        with self._database.reading() as connection:
            row = self._latest(connection, tick=tick)
            return None if row is None else self._snapshot(connection, row)
