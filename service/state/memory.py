"""Answers of the database, remembered until anybody commits anything to it."""

import sqlite3
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

_MOST = 512

_T = TypeVar("_T")


class Memory:
    """Asks a file of SQLite whether it has changed, which is much cheaper than to read it.

    The file counts its commits, those of other processes included. What was read at one count is
    the truth for as long as the count stays, so no answer is older than the question. A server of
    PostgreSQL has no such count: there everything is asked every time.
    """

    def __init__(self, file: Path | None) -> None:
        """Remember what is in ``file``, or nothing."""
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._known: tuple[int, dict[Hashable, object]] = (-1, {})

    def recall(self, key: Hashable, ask: Callable[[], _T]) -> _T:
        """Give what ``ask`` answered to this key, or have it answer."""
        # Before asking: what is committed meanwhile makes the answer too new, never too old.
        commits = self._commits()
        if commits is None:
            return ask()
        at, answers = self._known
        if at != commits or len(answers) > _MOST:
            answers = {}
            self._known = commits, answers
        if key not in answers:
            answers[key] = ask()
        answer: _T = answers[key]  # type: ignore[assignment]
        return answer

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection, self._file = None, None

    def _commits(self) -> int | None:
        if self._file is None:
            return None
        try:
            with self._lock:
                # One connection, which writes nothing: the count is of what others committed.
                if self._connection is None:
                    # It must not make a file where there is none any more.
                    url = f"{self._file.absolute().as_uri()}?mode=rw"
                    self._connection = sqlite3.connect(url, uri=True, check_same_thread=False)
                count: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
                return count
        except sqlite3.Error:
            # Whoever reads finds out what the matter is, and can say it.
            return None
