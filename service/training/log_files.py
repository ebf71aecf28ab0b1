"""Reading click logs: CSV, CSV.gz and Parquet files, checked row by row before anything is used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from tqdm import tqdm

from service.training.click_log import ClickLog, IdColumn, TrainingError

_IDS = ("user_id", "ad_id", "device", "placement")
_WHOLE_NUMBERS: Mapping[str, tuple[str, str]] = {
    "hour": ("^([01]?[0-9]|2[0-3])$", "a whole number of 0 to 23"),
    "day_of_week": ("^[0-6]$", "a whole number of 0 (Monday) to 6"),
    "click": ("^[01]$", "0 or 1"),
}
_REQUIRED = (*_IDS, *_WHOLE_NUMBERS)
_TIMESTAMP = "timestamp"
# A string because these classes take parameters only in their type stubs.
_Column: TypeAlias = "pa.ChunkedArray[Any] | pa.Array[Any]"

_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_click_log(paths: Sequence[Path]) -> ClickLog:
    """Read files as one log, sorted by timestamp where there is one.

    Ids are strings even where they look like numbers; columns that are not needed are ignored.

    Raises:
        TrainingError: A file cannot be used; the message names file, column, row and the fix.
    """
    tables = [_read_table(path) for path in tqdm(paths, "reading", delay=1, leave=False)]
    for path, table in zip(paths, tables, strict=True):
        if (_TIMESTAMP in table.column_names) != (_TIMESTAMP in tables[0].column_names):
            raise TrainingError(
                f"of {paths[0]} and {path} only one has the column timestamp; "
                "add it to all files, or remove it from all"
            )
    table = pa.concat_tables(tables).combine_chunks()
    if _TIMESTAMP in table.column_names:
        table = table.sort_by(_TIMESTAMP)
    numbers = {name: table[name].to_numpy() for name in _WHOLE_NUMBERS}
    return ClickLog(
        **{name: _id_column(table[name]) for name in _IDS},
        hour=numbers["hour"],
        day_of_week=numbers["day_of_week"],
        click=numbers["click"].astype(np.bool_),
        timestamp=table[_TIMESTAMP].to_numpy() if _TIMESTAMP in table.column_names else None,
    )


def _read_table(path: Path) -> pa.Table:
    """Read and check one file; the numbers come as int64, the time as microseconds of UTC."""
    try:
        table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except FileNotFoundError as error:
        raise TrainingError(f"{path} does not exist; check the path after --data") from error
    except (OSError, pa.ArrowException) as error:
        raise TrainingError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not len(table):
        raise TrainingError(f"{path} has no rows; a click log needs impressions")
    columns = {name: _as_text(table[name]) for name in table.column_names if name != _TIMESTAMP}
    for name, column in columns.items():
        _refuse(path, name, column, pc.is_null(column), "not be empty")
    for name, (pattern, fix) in _WHOLE_NUMBERS.items():
        valid = pc.match_substring_regex(columns[name], pattern)
        _refuse(path, name, columns[name], pc.invert(valid), f"be {fix}")
        columns[name] = pc.cast(columns[name], pa.int64())
    if _TIMESTAMP in table.column_names:
        columns[_TIMESTAMP] = _timestamps(path, table[_TIMESTAMP])
    return pa.table(columns)


def _read_csv(path: Path) -> pa.Table:
    if not path.name.endswith(_SUFFIXES):
        raise TrainingError(f"{path} is none of {', '.join(_SUFFIXES)}; convert it to one")
    with pa_csv.open_csv(path) as reader:
        wanted = _wanted(path, reader.schema.names)
    return pa_csv.read_csv(
        path,
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _read_parquet(path: Path) -> pa.Table:
    return pa_parquet.read_table(
        path, columns=_wanted(path, pa_parquet.read_schema(path).names), partitioning=None
    )


def _wanted(path: Path, names: Sequence[str]) -> list[str]:
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise TrainingError(
            f"{path} lacks the column {', '.join(missing)}; it has {', '.join(names)}"
        )
    repeated = [name for name in (*_REQUIRED, _TIMESTAMP) if list(names).count(name) > 1]
    if repeated:
        raise TrainingError(f"{path} has the column {repeated[0]} twice; remove one")
    return [*_REQUIRED, *([_TIMESTAMP] if _TIMESTAMP in names else [])]


def _as_text(column: _Column) -> _Column:
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    return pc.cast(column, pa.string())


def _timestamps(path: Path, column: _Column) -> _Column:
    _refuse(path, _TIMESTAMP, column, pc.is_null(column), "not be empty")
    naive, aware = pa.timestamp("us"), pa.timestamp("us", "UTC")
    for kind in (naive, aware):
        try:
            return pc.cast(pc.cast(column, kind, safe=False), naive)
        except pa.ArrowException as error:
            cause = error
    raise TrainingError(
        f"{path}, column timestamp: {str(cause).splitlines()[0]}; write UTC as "
        "2026-11-23T01:45:00, in all rows alike"
    )


def _refuse(path: Path, name: str, column: _Column, wrong: _Column, must: str) -> None:
    row = pc.index(wrong, value=True).as_py()
    if row >= 0:
        value = column[row].as_py()
        raise TrainingError(
            f"{path}, row {row + 1} after the header: {name} is {value!r}; it must {must}"
        )


def _id_column(column: "pa.ChunkedArray[Any]") -> IdColumn:
    encoded = column.combine_chunks().dictionary_encode()
    values = [str(value) for value in encoded.dictionary.to_pylist()]
    return IdColumn(encoded.indices.to_numpy().astype(np.int64), values)
