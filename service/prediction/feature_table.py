"""A table of features: for each key its float32 numbers as bytes, ready to be joined to rows.

Equal numbers are kept once: the most keys of a long table are ids that were seen a few times,
and there are only so many ways to have been seen a few times.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.prediction.request_keys import Key

FLOAT_BYTES = 4

MAX_KEYS_PER_TABLE = 200_000
"""Only the most frequent keys are kept: about 25 MB a table, however long the log was."""

Table = Mapping[str | int, bytes]
"""The features of each key, in the order of ``Key.features``; the most frequent key first."""


def table_of(keys: Sequence[str | int], columns: Sequence[Sequence[float]]) -> Table:
    """Make a table of its keys, the most frequent first, and a column for each feature.

    Raises:
        ValueError: A column is longer or shorter than the keys.
        TypeError: A feature is not a number.
    """
    if any(len(column) != len(keys) for column in columns):
        raise ValueError("a column of features is longer or shorter than that of the keys")
    # An array refuses what is not a number, where numpy would make one of it.
    rows = np.array([array("f", column) for column in columns], dtype=np.float32).T.tobytes()
    width = FLOAT_BYTES * len(columns)
    once: dict[bytes, bytes] = {}
    features = (rows[start : start + width] for start in range(0, len(rows), width))
    return {key: once.setdefault(row, row) for key, row in zip(keys, features, strict=True)}


def columns_of(table: Table, key: Key) -> dict[str, Sequence[Any]]:
    """Take a table apart: its keys, and each feature by its name; float32 as exact floats."""
    rows = np.frombuffer(b"".join(table.values()), dtype=np.float32)
    columns = rows.reshape(len(table), len(key.features)).T.tolist()
    return {"keys": list(table), **dict(zip(key.features, columns, strict=True))}


def check_table(table: Table, key: Key) -> None:
    """Make sure that a table can be served.

    Raises:
        ValueError: It is too long, or holds a number that is not finite; the message names it.
    """
    if len(table) > MAX_KEYS_PER_TABLE:
        raise ValueError(f"table {key.table} has {len(table)} keys, over {MAX_KEYS_PER_TABLE}")
    rows = set(table.values())
    if any(len(row) != FLOAT_BYTES * len(key.features) for row in rows):
        raise ValueError(f"table {key.table} needs {', '.join(key.features)} for each key")
    if not np.isfinite(np.frombuffer(b"".join(rows), dtype=np.float32)).all():
        raise ValueError(f"table {key.table} holds a number that is not finite")
