"""Small things to remember by scope and key, such as the verdicts that were decided last."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import select

from service.state.database import Database
from service.state.schema import keyed_values
from service.state.upsert import insert

_T = TypeVar("_T")


class KeyedValues:
    """Values that are written and read as a whole; what the bytes mean is the caller's.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, scope: str, key: str) -> bytes | None:
        """Return the value that was saved last."""
        with self._database.reading() as connection:
            content: bytes | None = connection.scalar(
                select(keyed_values.c.content).where(
                    keyed_values.c.scope == scope, keyed_values.c.key == key
                )
            )
            return content

    def read(self, scope: str, key: str, parse: Callable[[str], _T]) -> _T | None:
        """Return what ``parse`` makes of the value.

        None where there is none, and where ``parse`` raises ValueError: then another release wrote
        it, and to begin afresh is better than to stand still.
        """
        content = self.load(scope, key)
        try:
            return None if content is None else parse(content.decode())
        except ValueError:
            return None

    def save(self, scope: str, key: str, content: bytes) -> None:
        """Replace the value; durable when it returns."""
        with self._database.writing() as connection:
            wanted = insert(connection, keyed_values).values(scope=scope, key=key, content=content)
            connection.execute(
                wanted.on_conflict_do_update(
                    index_elements=[keyed_values.c.scope, keyed_values.c.key],
                    set_={"content": wanted.excluded.content},
                )
            )
