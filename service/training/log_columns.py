"""What the columns of a log must hold, checked row by row, whatever file they come from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from service.training.click_log import ClickLog, IdColumn, Impressions, LogError

IDS = ("user_id", "ad_id", "device", "placement")
CLICK, TIMESTAMP = "click", "timestamp"
_WHOLE_NUMBERS: Mapping[str, tuple[str, str]] = {
    "hour": ("^([01]?[0-9]|2[0-3])$", "a whole number of 0 to 23"),
    "day_of_week": ("^[0-6]$", "a whole number of 0 (Monday) to 6"),
    CLICK: ("^[01]$", "0 or 1"),
}
OF_A_REQUEST = (*IDS, "hour", "day_of_week")
# A string because these classes take parameters only in their type stubs.
_Column: TypeAlias = "pa.ChunkedArray[Any] | pa.Array[Any]"


def wanted_columns(
    path: Path, names: Sequence[str], *, required: Sequence[str], optional: Sequence[str] = ()
) -> list[str]:
    """Choose the columns to read out of those that a file has.

    Raises:
        LogError: One is missing, or there twice.
    """
    missing = [name for name in required if name not in names]
    if missing:
        raise LogError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(names)}")
    repeated = [name for name in (*required, *optional) if list(names).count(name) > 1]
    if repeated:
        raise LogError(f"{path} has the column {repeated[0]} twice; remove one")
    return [*required, *(name for name in optional if name in names)]


def checked(path: Path, table: pa.Table, *, rows_before: int = 0) -> pa.Table:
    """Check some rows of a file.

    Args:
        path: Of the file, for messages.
        table: Rows of the wanted columns.
        rows_before: How many rows of the file come before.

    Returns:
        The ids as text, dictionary-encoded where they came so, the numbers as int64 and the time
        as microseconds of UTC.

    Raises:
        LogError: A value cannot be used; the message names file, column, row and the fix.
    """
    columns = {}
    for name in table.column_names:
        column = table[name]
        missing = pc.is_null(column)
        _refuse(path, name, column, missing, must="not be empty", rows_before=rows_before)
        if name == TIMESTAMP:
            columns[name] = _timestamps(path, column)
        elif name in _WHOLE_NUMBERS:
            columns[name] = _whole_numbers(path, name, column, rows_before)
        else:
            columns[name] = _as_text(column)
    return pa.table(columns)


def impressions_of(table: pa.Table) -> Impressions:
    """Take the columns out of a checked table; a :class:`ClickLog` where it tells the clicks."""
    if CLICK in table.column_names:
        return click_log_of(table)
    return Impressions(**_facts(table))


def click_log_of(table: pa.Table) -> ClickLog:
    """Take the columns out of a checked table that tells the clicks."""
    return ClickLog(**_facts(table), click=table[CLICK].to_numpy().astype(np.bool_))


def _facts(table: pa.Table) -> dict[str, Any]:
    return {
        **{name: _id_column(table[name]) for name in IDS},
        "hour": table["hour"].to_numpy(),
        "day_of_week": table["day_of_week"].to_numpy(),
        "timestamp": table[TIMESTAMP].to_numpy() if TIMESTAMP in table.column_names else None,
    }


def _whole_numbers(path: Path, name: str, column: _Column, rows_before: int) -> _Column:
    """Check each value that occurs, not each row: there are few."""
    encoded = _encoded(column)
    values = _spelt(encoded.dictionary)
    pattern, fix = _WHOLE_NUMBERS[name]
    invalid = pc.invert(pc.match_substring_regex(values, pattern))
    if pc.any(invalid).as_py():
        wrong = pc.take(invalid, encoded.indices)
        _refuse(path, name, _spelt(column), wrong, must=f"be {fix}", rows_before=rows_before)
        values = pc.if_else(invalid, "0", values)  # in the file's dictionary, but in no row
    return pc.take(pc.cast(values, pa.int64()), encoded.indices)


def _as_text(column: _Column) -> _Column:
    if pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type):
        return column
    return _spelt(column)


def _spelt(column: _Column) -> _Column:
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    return pc.cast(column, pa.string())


def _timestamps(path: Path, column: _Column) -> _Column:
    naive, aware = pa.timestamp("us"), pa.timestamp("us", "UTC")
    for kind in (naive, aware):
        try:
            return pc.cast(pc.cast(column, kind, safe=False), naive)
        except pa.ArrowException as error:
            cause = error
    raise LogError(
        f"{path}, column timestamp: {str(cause).splitlines()[0]}; write UTC as "
        "2026-11-23T01:45:00, in all rows alike"
    )


def _refuse(
    path: Path, name: str, column: _Column, wrong: _Column, *, must: str, rows_before: int
) -> None:
    row = pc.index(wrong, value=True).as_py()
    if row >= 0:
        value = column[row].as_py()
        raise LogError(
            f"{path}, row {rows_before + row + 1} after the header: {name} is {value!r}; "
            f"it must {must}"
        )


def _id_column(column: _Column) -> IdColumn:
    encoded = _encoded(column)
    values = encoded.dictionary.to_numpy(zero_copy_only=False).tolist()
    return IdColumn(encoded.indices.to_numpy().astype(np.int64), values)


def _encoded(column: _Column) -> "pa.DictionaryArray[Any, Any]":
    """Keep each value once."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.DictionaryArray):
        # That of a whole file, under some of its rows, costs more than it saves.
        if len(whole.dictionary) <= len(whole):
            return whole
        whole = whole.dictionary_decode()
    return whole.dictionary_encode()
