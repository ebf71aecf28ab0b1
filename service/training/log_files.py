"""Reading click logs: CSV, CSV.gz and Parquet files, checked row by row before anything is used."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from service.progress import shown
from service.training.click_log import ClickLog, LogError
from service.training.log_columns import (
    CLICK,
    OF_A_REQUEST,
    TIMESTAMP,
    checked,
    click_log_of,
    wanted_columns,
)

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_click_log(paths: Sequence[Path]) -> ClickLog:
    """Read files as one log, sorted by timestamp where there is one.

    Ids are strings even where they look like numbers; columns that are not needed are ignored.

    Raises:
        LogError: A file cannot be used; the message names file, column, row and the fix.
    """
    tables = [_read_table(path) for path in shown(paths, "reading", "file")]
    refuse_mixed(TIMESTAMP, paths, [table.column_names for table in tables])
    table = pa.concat_tables(tables).combine_chunks()
    if TIMESTAMP in table.column_names:
        table = table.sort_by(TIMESTAMP)
    return click_log_of(table)


def refuse_mixed(column: str, paths: Sequence[Path], names: Sequence[Sequence[str]]) -> None:
    """Make sure that all files have an optional column, or none.

    Args:
        column: Its name.
        paths: The files.
        names: Columns of each file.

    Raises:
        LogError: Some have it.
    """
    for path, those in zip(paths, names, strict=True):
        if (column in those) != (column in names[0]):
            raise LogError(
                f"of {paths[0]} and {path} only one has the column {column}; "
                "add it to all files, or remove it from all"
            )


def convert_options(wanted: Sequence[str]) -> pa_csv.ConvertOptions:
    """Read the ``wanted`` columns of a CSV file as they are spelt; what is empty is missing."""
    return pa_csv.ConvertOptions(
        include_columns=list(wanted),
        column_types=dict.fromkeys(wanted, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
    )


def csv_columns(path: Path) -> Sequence[str]:
    """Read the header of a CSV file.

    Raises:
        LogError: It is called otherwise.
    """
    if not path.name.endswith(SUFFIXES):
        raise LogError(f"{path} is none of {', '.join(SUFFIXES)}; convert it to one")
    with pa_csv.open_csv(path) as reader:
        return reader.schema.names


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say of what goes wrong in here that the file cannot be read.

    Raises:
        LogError: The file is not there, torn, or not what its name says.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise LogError(f"{path} does not exist; check the path after --data") from error
    except (OSError, pa.ArrowException) as error:
        raise LogError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def refuse_empty(path: Path, rows: int) -> None:
    """Make sure that a file has ``rows``.

    Raises:
        LogError: It has none.
    """
    if not rows:
        raise LogError(f"{path} has no rows; a click log needs impressions")


def _read_table(path: Path) -> pa.Table:
    with reading(path):
        table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    refuse_empty(path, len(table))
    plain = {name: _dense(table[name]) for name in table.column_names}
    return checked(path, pa.table(plain))


def _dense(column: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    """Spell a dictionary out: those of several files cannot be put together."""
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def _read_csv(path: Path) -> pa.Table:
    wanted = _wanted(path, csv_columns(path))
    return pa_csv.read_csv(path, convert_options=convert_options(wanted))


def _read_parquet(path: Path) -> pa.Table:
    return pa_parquet.read_table(
        path, columns=_wanted(path, pa_parquet.read_schema(path).names), partitioning=None
    )


def _wanted(path: Path, names: Sequence[str]) -> list[str]:
    required = (*OF_A_REQUEST, CLICK)
    return wanted_columns(path, names, required=required, optional=[TIMESTAMP])
