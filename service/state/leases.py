"""Leases: of many processes that could do a piece of work, exactly one does."""

import time
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import delete, select, update

from service.state.database import Database
from service.state.schema import leases
from service.state.upsert import insert


class _Record(NamedTuple):
    holder: str
    expires_at: float


class _Seen(NamedTuple):
    record: _Record
    since: float


class Leases:
    """Named leases, each held by one holder until it expires.

    Times are the callers' own clocks: on several hosts these must agree to well within the time
    to live, and a holder must stop working when its lease has expired unrenewed.

    Raises:
        StateUnavailableError: In every method, when the database does not answer. A holder that
            sees it no longer knows whether it holds the lease.
    """

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}

    def acquire_or_renew(self, name: str, holder: str, now: float, ttl: float) -> bool:
        """Hold the lease until ``now + ttl``, if it is free, expired, or held by ``holder``.

        A lease that this process has watched for ``ttl`` without seeing a renewal counts as
        expired, whatever its date says: its holder may have died before the clock was set back.

        Args:
            name: What the lease is for, such as ``ticker:instance:host1``.
            holder: Unique among all processes that ever ask, restarts included.
            now: The present, in Unix seconds.
            ttl: Time to live, in seconds; the same for all who ask for this lease.

        Returns:
            Whether ``holder`` holds the lease now.
        """
        with self._database.writing() as connection:
            row = connection.execute(
                select(leases.c.holder, leases.c.expires_at)
                .where(leases.c.name == name)
                .with_for_update()
            ).first()
            if row is None:
                granted = connection.execute(
                    insert(connection, leases)
                    .values(name=name, holder=holder, expires_at=now + ttl)
                    .on_conflict_do_nothing()
                    .returning(leases.c.name)
                )
                return granted.first() is not None
            record = _Record(*row)
            silent = self._silent_for(name, record) >= ttl
            if record.holder != holder and record.expires_at > now and not silent:
                return False
            connection.execute(
                update(leases)
                .where(leases.c.name == name)
                .values(holder=holder, expires_at=now + ttl)
            )
            return True

    def release(self, name: str, holder: str) -> None:
        """Give the lease up; nothing happens where ``holder`` does not hold it."""
        with self._database.writing() as connection:
            connection.execute(
                delete(leases).where(leases.c.name == name, leases.c.holder == holder)
            )

    def holder_of(self, name: str, now: float) -> str | None:
        """Tell who holds the lease at ``now``, in Unix seconds."""
        with self._database.reading() as connection:
            holder: str | None = connection.scalar(
                select(leases.c.holder).where(leases.c.name == name, leases.c.expires_at > now)
            )
            return holder

    def _silent_for(self, name: str, record: _Record) -> float:
        """Seconds since this process first saw the lease as it is."""
        now = self._monotonic()
        seen = self._seen.get(name)
        if seen is None or seen.record != record:
            seen = self._seen[name] = _Seen(record, now)
        return now - seen.since
