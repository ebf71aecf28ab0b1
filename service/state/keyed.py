"""Small things to remember by scope and key, such as the verdicts that were decided last."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select

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
        return self._database.remembered(
            (KeyedValues, scope, key), lambda connection: _content(connection, scope, key)
        )

    def read(self, scope: str, key: str, parse: Callable[[str], _T]) -> _T | None:
        """Return what ``parse`` makes of the value, the same object until it is saved again.

        None where there is none, and where ``parse`` raises ValueError: then another release wrote
        it, and to begin afresh is better than to stand still.
        """

        def parsed(connection: Connection) -> _T | None:
            content = _content(connection, scope, key)
            try:
                return None if content is None else parse(content.decode())
            except ValueError:
                return None

        return self._database.remembered((KeyedValues, scope, key, parse), parsed)

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


_VALUE = select(keyed_values.c.content).where(
    keyed_values.c.scope == bindparam("scope"), keyed_values.c.key == bindparam("key")
)


def _content(connection: Connection, scope: str, key: str) -> bytes | None:
    content: bytes | None = connection.scalar(_VALUE, {"scope": scope, "key": key})
    return content
