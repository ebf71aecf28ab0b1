"""Connections to PostgreSQL that give up on a server which no longer answers.

The server's own time-outs end what it is doing; of one that hangs, or whose network has gone, a
client hears nothing, and would wait for ever.
"""

from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen

_T = TypeVar("_T")
_LOOKS_EVERY_SECONDS = 0.1


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes too long."""

    _patience_seconds: float | None = None

    @classmethod
    def within(cls, patience_seconds: float, *arguments: str, **options: Any) -> Self:  # noqa: ANN401 - handed on
        """Connect, and let no answer take longer."""
        connection = cls.connect(*arguments, **options)
        connection._patience_seconds = patience_seconds  # noqa: SLF001 - its own
        return connection

    def wait(
        self,
        gen: PQGen[_T],
        interval: float = _LOOKS_EVERY_SECONDS,
        timeout: float | None = None,
    ) -> _T:
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: It has taken too long. Whether the server has done what it
                was asked to is not known.
        """
        if timeout is not None or self._patience_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self._patience_seconds)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 - raised through this method
            self.close()
            raise psycopg.OperationalError(
                f"the server has not answered for {self._patience_seconds:g} s"
            ) from error
