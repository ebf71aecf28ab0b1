"""The outbox: what MLflow is to be told, durable and unchanging before it is sent."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, or_, select, update

from service.monitoring.tracking import WITH_FILES, Entry, EntryKind, RunKind, TrackedRun
from service.state.database import Database
from service.state.encoding import decode_text, encode_text
from service.state.errors import StateError
from service.state.schema import keyed_values, outbox, tracked_runs
from service.state.upsert import insert

_FROZEN_UNTIL = "history_frozen_until"
_DELETED_AT_ONCE = 500
_STORED = outbox.c.id, outbox.c.run_key, outbox.c.kind, outbox.c.step, outbox.c.content

_LOGGER = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """An entry that is not sent yet."""

    id: int
    entry: Entry


class Backlog(NamedTuple):
    """What waits to be sent."""

    entries: int
    points: int
    oldest_frozen_at: float | None
    """Unix seconds; None where nothing waits."""
    refused: int
    """Entries that MLflow refused for good; they block nobody."""


class KnownRun(NamedTuple):
    """A run and where it is."""

    run: TrackedRun
    run_id: str | None
    """None until it exists in the store that was asked about."""


class LocatedRun(NamedTuple):
    """A run that exists."""

    run: TrackedRun
    run_id: str


class Outbox:
    """The outbox of one scope.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, database: Database, scope: str) -> None:
        self._database = database
        self._scope = scope

    def frozen_until(self) -> float | None:
        """End of the newest window that was frozen, in Unix seconds."""
        with self._database.reading() as connection:
            return _frozen_until(connection, self._scope)

    def freeze(
        self,
        runs: Iterable[TrackedRun],
        entries: Iterable[Entry],
        *,
        at: float,
        until: float | None = None,
    ) -> None:
        """Store entries, all or none; of an entry that is there already the first word stands.

        Args:
            runs: Those that the entries belong to.
            entries: What to tell.
            at: The present, in Unix seconds.
            until: End of the window that is frozen with this, in Unix seconds; one that was
                frozen before, by a bridge that slept and woke up, changes nothing.
        """
        with self._database.writing() as connection:
            for run in runs:
                connection.execute(
                    insert(connection, tracked_runs)
                    .values(run_key=run.key, scope=self._scope, content=run.to_json())
                    .on_conflict_do_nothing()
                )
            for entry in entries:
                connection.execute(
                    insert(connection, outbox)
                    .values(
                        run_key=entry.run_key,
                        kind=entry.kind,
                        step=entry.step,
                        frozen_at=at,
                        points=len(entry.points),
                        content=encode_text(entry.to_json()),
                    )
                    .on_conflict_do_nothing()
                )
            frozen = _frozen_until(connection, self._scope)
            if until is not None and (frozen is None or frozen < until):
                wanted = insert(connection, keyed_values).values(
                    scope=self._scope, key=_FROZEN_UNTIL, content=repr(until).encode()
                )
                connection.execute(
                    wanted.on_conflict_do_update(
                        index_elements=[keyed_values.c.scope, keyed_values.c.key],
                        set_={"content": wanted.excluded.content},
                    )
                )

    def runs_waiting(self) -> Sequence[str]:
        """Keys of the runs with points or tags to send, the longest waiting first."""
        with self._database.reading() as connection:
            return connection.scalars(
                select(outbox.c.run_key)
                .where(self._own(), _POINTS_WAITING)
                .group_by(outbox.c.run_key)
                .order_by(func.min(outbox.c.id))
            ).all()

    def waiting(self, run_key: str, *, most_points: int) -> Sequence[Waiting]:
        """Oldest unsent entries of a run: up to ``most_points`` points, but at least one entry.

        Those that are damaged are set aside, so that there may be none.
        """
        found: list[Row[*tuple[Any, ...]]] = []
        points = 0
        with self._database.reading() as connection:
            rows = connection.execute(
                select(outbox.c.points, *_STORED)
                .where(outbox.c.run_key == run_key, _POINTS_WAITING)
                .order_by(outbox.c.id)
                .limit(most_points)
            )
            for row in rows:
                points += row.points
                if found and points > most_points:
                    break
                found.append(row)
        return self._readable(found)

    def waiting_with_files(self) -> Sequence[Waiting]:
        """Unsent entries with files, oldest first; those that are damaged are set aside."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*_STORED)
                .where(self._own(), _WAITING, outbox.c.kind.in_(WITH_FILES))
                .order_by(outbox.c.id)
            ).all()
        return self._readable(rows)

    def _readable(self, rows: Sequence[Row[*tuple[Any, ...]]]) -> Sequence[Waiting]:
        found: list[Waiting] = []
        for row in rows:
            try:
                entry = _entry(row.run_key, row.kind, row.step, row.content)
            except StateError as damage:
                what = row.run_key, row.kind, row.step
                _LOGGER.warning("MLflow will not be told %s %s %d: %s", *what, damage)
                self.refuse(row.id, str(damage))
            else:
                found.append(Waiting(row.id, entry))
        return found

    def entries(self, run_key: str, kind: EntryKind) -> Sequence[Entry]:
        """Everything of one kind that was frozen for a run and is still kept, in order."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(outbox.c.step, outbox.c.content)
                .where(outbox.c.run_key == run_key, outbox.c.kind == kind)
                .order_by(outbox.c.step)
            ).all()
        return [_entry(run_key, kind, row.step, row.content) for row in rows]

    def kept_runs(self) -> Sequence[TrackedRun]:
        """List the runs that are still kept, by key."""
        with self._database.reading() as connection:
            found = connection.scalars(
                select(tracked_runs.c.content)
                .where(tracked_runs.c.scope == self._scope)
                .order_by(tracked_runs.c.run_key)
            ).all()
        return [_run(content) for content in found]

    def runs_of(self, model_name: str, kind: RunKind) -> Sequence[TrackedRun]:
        """List those of one kind about one model."""
        runs = self.kept_runs()
        return [run for run in runs if run.model_name == model_name and run.kind is kind]

    def last(self, run_key: str, kind: EntryKind) -> Entry | None:
        """Give the newest entry of one kind."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(outbox.c.step, outbox.c.content)
                .where(outbox.c.run_key == run_key, outbox.c.kind == kind)
                .order_by(outbox.c.step.desc())
                .limit(1)
            ).first()
        return None if row is None else _entry(run_key, kind, row.step, row.content)

    def newest(self, kind: EntryKind) -> Sequence[Entry]:
        """Give the entries of one kind at the greatest step there is, of any run."""
        last = select(func.max(outbox.c.step)).where(self._own(), outbox.c.kind == kind)
        with self._database.reading() as connection:
            rows = connection.execute(
                select(outbox.c.run_key, outbox.c.step, outbox.c.content).where(
                    self._own(), outbox.c.kind == kind, outbox.c.step == last.scalar_subquery()
                )
            ).all()
        return [_entry(row.run_key, kind, row.step, row.content) for row in rows]

    def unclosed(self) -> Sequence[TrackedRun]:
        """List the runs whose last word is not frozen."""
        closed = outbox.alias()
        with self._database.reading() as connection:
            found = connection.scalars(
                select(tracked_runs.c.content)
                .where(
                    tracked_runs.c.scope == self._scope,
                    ~select(closed.c.id)
                    .where(
                        closed.c.run_key == tracked_runs.c.run_key,
                        closed.c.kind == EntryKind.CLOSE,
                    )
                    .exists(),
                )
                .order_by(tracked_runs.c.run_key)
            ).all()
        return [_run(content) for content in found]

    def acknowledge(self, ids: Sequence[int], at: float) -> None:
        """Remember that MLflow has them; ``at`` in Unix seconds."""
        with self._database.writing() as connection:
            connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(sent_at=at))

    def refuse(self, entry_id: int, problem: str) -> None:
        """Set an entry aside that MLflow will never take."""
        with self._database.writing() as connection:
            connection.execute(
                update(outbox).where(outbox.c.id == entry_id).values(problem=problem)
            )

    def knows(self, run_key: str) -> bool:
        """Whether there is such a run."""
        with self._database.reading() as connection:
            wanted = select(tracked_runs.c.run_key).where(tracked_runs.c.run_key == run_key)
            return connection.scalar(wanted) is not None

    def run(self, run_key: str, store: str) -> KnownRun:
        """Give a run, and its id in ``store`` where it is known there.

        Raises:
            KeyError: There is no such run.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                select(tracked_runs.c.content, tracked_runs.c.run_id, tracked_runs.c.store).where(
                    tracked_runs.c.run_key == run_key
                )
            ).first()
        if row is None:
            raise KeyError(run_key)
        return KnownRun(_run(row.content), row.run_id if row.store == store else None)

    def located_runs(self, store: str) -> Sequence[LocatedRun]:
        """List the runs of this scope that exist in ``store``."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tracked_runs.c.content, tracked_runs.c.run_id)
                .where(
                    tracked_runs.c.scope == self._scope,
                    tracked_runs.c.store == store,
                    tracked_runs.c.run_id.is_not(None),
                )
                .order_by(tracked_runs.c.run_key)
            ).all()
        return [LocatedRun(_run(row.content), row.run_id) for row in rows]

    def remember_run(self, run_key: str, store: str, run_id: str) -> None:
        """Remember where a run is; where it was elsewhere before, all of it is to be sent again.

        Elsewhere is another database, or another experiment since the first was wiped out.
        """
        with self._database.writing() as connection:
            before = connection.scalar(
                select(tracked_runs.c.store).where(tracked_runs.c.run_key == run_key)
            )
            connection.execute(
                update(tracked_runs)
                .where(tracked_runs.c.run_key == run_key)
                .values(store=store, run_id=run_id)
            )
            if before not in {None, store}:
                _send_again(connection, run_key)

    def forget_run(self, run_key: str) -> None:
        """The run is gone: all that is still kept of it is to be sent again, into a new one."""
        with self._database.writing() as connection:
            connection.execute(
                update(tracked_runs)
                .where(tracked_runs.c.run_key == run_key)
                .values(store=None, run_id=None)
            )
            _send_again(connection, run_key)

    def backlog(self) -> Backlog:
        """Add up what waits."""
        with self._database.reading() as connection:
            entries, points, oldest = connection.execute(
                select(func.count(), func.sum(outbox.c.points), func.min(outbox.c.frozen_at))
                .select_from(outbox)
                .where(self._own(), _WAITING)
            ).one()
            refused = connection.scalar(
                select(func.count())
                .select_from(outbox)
                .where(self._own(), outbox.c.problem.is_not(None))
            )
        return Backlog(entries, points or 0, oldest, refused or 0)

    def problems(self) -> Mapping[str, str]:
        """Why MLflow refused entries, by run, kind and step."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(outbox.c.run_key, outbox.c.kind, outbox.c.step, outbox.c.problem)
                .where(self._own(), outbox.c.problem.is_not(None))
                .order_by(outbox.c.id)
            ).all()
        return {f"{row.run_key} {row.kind} {row.step}": row.problem for row in rows}

    def prune(self, now: float, *, kept_seconds: float, most_points: int) -> int:
        """Drop what was settled long ago; where too much waits, the oldest samples.

        Windows of a run that is not closed stay: the last word is made of them.

        Args:
            now: The present, in Unix seconds.
            kept_seconds: How long sent and refused entries are kept, for a run that is lost.
            most_points: How many may wait; aggregates are never dropped.

        Returns:
            Number of samples' points that were dropped unsent.
        """
        last_word = outbox.alias()
        closed = (
            select(last_word.c.id)
            .where(last_word.c.run_key == outbox.c.run_key, last_word.c.kind == EntryKind.CLOSE)
            .exists()
        )
        with self._database.writing() as connection:
            connection.execute(
                delete(outbox).where(
                    self._own(),
                    outbox.c.frozen_at < now - kept_seconds,
                    or_(outbox.c.sent_at.is_not(None), outbox.c.problem.is_not(None)),
                    or_(outbox.c.kind != EntryKind.WINDOW, closed),
                )
            )
            orphaned = (
                ~select(outbox.c.id).where(outbox.c.run_key == tracked_runs.c.run_key).exists()
            )
            connection.execute(
                delete(tracked_runs).where(tracked_runs.c.scope == self._scope, orphaned)
            )
            return self._drop_samples(connection, most_points)

    def _drop_samples(self, connection: Connection, most_points: int) -> int:
        total = connection.scalar(select(func.sum(outbox.c.points)).where(self._own(), _WAITING))
        excess, dropped = (total or 0) - most_points, 0
        if excess <= 0:
            return 0
        ids: list[int] = []
        for row in connection.execute(
            select(outbox.c.id, outbox.c.points)
            .where(self._own(), _WAITING, outbox.c.kind == EntryKind.SAMPLES)
            .order_by(outbox.c.id)
        ):
            if dropped >= excess:
                break
            ids.append(row.id)
            dropped += row.points
        for start in range(0, len(ids), _DELETED_AT_ONCE):
            part = ids[start : start + _DELETED_AT_ONCE]
            connection.execute(delete(outbox).where(outbox.c.id.in_(part)))
        return dropped

    def _own(self) -> ColumnElement[bool]:
        return outbox.c.run_key.in_(
            select(tracked_runs.c.run_key).where(tracked_runs.c.scope == self._scope)
        )


_WAITING = and_(outbox.c.sent_at.is_(None), outbox.c.problem.is_(None))
_POINTS_WAITING = and_(_WAITING, outbox.c.kind.not_in(WITH_FILES))


def _frozen_until(connection: Connection, scope: str) -> float | None:
    content = connection.scalar(
        select(keyed_values.c.content).where(
            keyed_values.c.scope == scope, keyed_values.c.key == _FROZEN_UNTIL
        )
    )
    return None if content is None else float(content.decode())


def _send_again(connection: Connection, run_key: str) -> None:
    """Also what was refused: a part of it may have been taken."""
    connection.execute(
        update(outbox).where(outbox.c.run_key == run_key).values(sent_at=None, problem=None)
    )


def _run(content: str) -> TrackedRun:
    try:
        return TrackedRun.from_json(content)
    except ValueError as error:
        raise StateError(f"a stored run cannot be read: {error}") from error


def _entry(run_key: str, kind: str, step: int, content: bytes) -> Entry:
    try:
        return Entry.from_json(run_key, kind, step, decode_text(content))
    except ValueError as error:
        raise StateError(f"the outbox cannot be read: {error}") from error
