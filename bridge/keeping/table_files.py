"""Tables of windows as files: CSV and Parquet, written row by row."""

import csv
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Protocol, Self

import pyarrow as pa
from pyarrow import parquet

from bridge.keeping.window_table import RUN_COLUMNS, WINDOW_COLUMNS, WindowRow

_ROWS_PER_GROUP = 50_000


class TableFile(Protocol):
    """A table that is being written."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Complete the file."""

    def write(self, rows: Sequence[WindowRow]) -> None:
        """Append rows."""


class CsvTable:
    """Comma-separated, UTF-8, one header line; a missing number is an empty cell."""

    def __init__(self, file: Path, metrics: Sequence[str]) -> None:
        self._metrics = metrics
        self._file = file.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([*RUN_COLUMNS, *WINDOW_COLUMNS, *metrics])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: Sequence[WindowRow]) -> None:
        """Append rows."""
        for row in rows:
            numbers = [row.numbers.get(name, "") for name in self._metrics]
            window = (row.step, _iso(row.start), _iso(row.end))
            self._writer.writerow([*row.of_run, *window, *numbers])


class ParquetTable:
    """Typed columns, compressed; a missing number is null."""

    def __init__(self, file: Path, metrics: Sequence[str]) -> None:
        self._metrics = metrics
        time = pa.timestamp("ms", tz="UTC")
        columns: list[tuple[str, pa.DataType]] = [
            *((name, pa.string()) for name in RUN_COLUMNS[:-1]),
            (RUN_COLUMNS[-1], pa.date32()),
            *zip(WINDOW_COLUMNS, (pa.int64(), time, time), strict=True),
            *((name, pa.float64()) for name in metrics),
        ]
        self._schema = pa.schema(columns)
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[WindowRow] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write_group()
        self._writer.close()

    def write(self, rows: Sequence[WindowRow]) -> None:
        """Append rows."""
        self._rows += rows
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        columns: list[Sequence[object]] = list(
            zip(
                *(
                    (*row.of_run[:-1], _day(row.of_run[-1]), row.step, row.start, row.end)
                    for row in rows
                ),
                strict=True,
            )
        )
        columns += [[row.numbers.get(name) for row in rows] for name in self._metrics]
        arrays = [
            pa.array(column, type=field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
