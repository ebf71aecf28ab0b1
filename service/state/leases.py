"""Leases: of many processes that could do a piece of work, exactly one does."""

from sqlalchemy import delete, or_, select

from service.state.database import Database
from service.state.schema import leases
from service.state.upsert import insert


class Leases:
    """Named leases, each held by one holder until it expires.

    Times are the callers' own clocks: on several hosts these must agree to well within the time
    to live, and a holder must stop working when its lease has expired unrenewed.

    Raises:
        StateUnavailableError: In every method, when the database does not answer. A holder that
            sees it no longer knows whether it holds the lease.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire_or_renew(self, name: str, holder: str, now: float, ttl: float) -> bool:
        """Hold the lease until ``now + ttl``, if it is free, expired, or held by ``holder``.

        A lease that runs for more than twice ``ttl`` was written before the clock was set back;
        it counts as expired, else nobody would work until the clock has caught up.

        Args:
            name: What the lease is for, such as ``ticker:instance:host1``.
            holder: Unique among all processes that ever ask, restarts included.
            now: The present, in Unix seconds.
            ttl: Time to live, in seconds; the same for all who ask for this lease.

        Returns:
            Whether ``holder`` holds the lease now.
        """
        with self._database.writing() as connection:
            wanted = insert(connection, leases).values(
                name=name, holder=holder, expires_at=now + ttl
            )
            granted = connection.execute(
                wanted.on_conflict_do_update(
                    index_elements=[leases.c.name],
                    set_={
                        "holder": wanted.excluded.holder,
                        "expires_at": wanted.excluded.expires_at,
                    },
                    where=or_(
                        leases.c.holder == holder,
                        leases.c.expires_at <= now,
                        leases.c.expires_at > now + 2 * ttl,
                    ),
                ).returning(leases.c.name)
            )
            return granted.first() is not None

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
