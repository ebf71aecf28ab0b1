"""A click log of any length, some rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from service.training.click_log import Impressions
from service.training.log_columns import (
    CLICK,
    OF_A_REQUEST,
    TIMESTAMP,
    checked,
    impressions_of,
    wanted_columns,
)
from service.training.log_files import (
    convert_options,
    csv_columns,
    reading,
    refuse_empty,
    refuse_mixed,
)

ROWS_PER_CHUNK = 100_000
_CSV_BYTES_PER_CHUNK = 8 << 20
"""About as many rows; a reader of CSV cuts by bytes."""

_REPEATING = ["ad_id", "device", "placement"]
"""Left as Parquet keeps them, each value once, which is three times faster than spelt out. Users
are too many: the values of a whole file would be dragged along with every chunk."""


class Chunk(NamedTuple):
    """Some rows of one file, as they were read."""

    path: Path
    rows_before: int
    """Rows of the same file before these."""
    rows: pa.RecordBatch

    def impressions(self) -> Impressions:
        """Check the rows.

        Raises:
            LogError: A value cannot be used; the message names file, column, row and the fix.
        """
        table = pa.Table.from_batches([self.rows])
        return impressions_of(checked(self.path, table, rows_before=self.rows_before))


@dataclass(frozen=True, slots=True)
class LogChunks:
    """Files that have the columns needed."""

    paths: Sequence[Path]
    columns: Sequence[Sequence[str]]
    """Those to be read of each file."""
    rows: int | None
    """Of all files; None where one is CSV, whose rows nobody has counted."""

    @classmethod
    def open(cls, paths: Sequence[Path], *, with_time: bool) -> Self:
        """Look at the beginning of each file.

        Args:
            paths: The files, .csv, .csv.gz or .parquet.
            with_time: Whether timestamps are read where there are some.

        Raises:
            LogError: A file cannot be used, or only one of two tells the time or the clicks.
        """
        optional = [CLICK, TIMESTAMP] if with_time else [CLICK]
        columns = [
            wanted_columns(path, _columns(path), required=OF_A_REQUEST, optional=optional)
            for path in paths
        ]
        for name in optional:
            refuse_mixed(name, paths, columns)
        return cls(paths, columns, _rows(paths))

    @property
    def with_clicks(self) -> bool:
        """Whether the log tells the clicks."""
        return CLICK in self.columns[0]

    def __iter__(self) -> Iterator[Chunk]:
        """Read on; only what is being looked at is in memory.

        Raises:
            LogError: A file is damaged, or has no rows.
        """
        for path, columns in zip(self.paths, self.columns, strict=True):
            rows_before = 0
            with reading(path):
                for rows in _batches(path, columns):
                    if len(rows):
                        yield Chunk(path, rows_before, rows)
                    rows_before += len(rows)
            refuse_empty(path, rows_before)


def _columns(path: Path) -> Sequence[str]:
    with reading(path):
        if path.suffix == ".parquet":
            return pa_parquet.read_schema(path).names
        return csv_columns(path)


def _rows(paths: Sequence[Path]) -> int | None:
    if all(path.suffix == ".parquet" for path in paths):
        return sum(pa_parquet.read_metadata(path).num_rows for path in paths)
    return None


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if path.suffix == ".parquet":
        # With buffers filled ahead pyarrow keeps all that it has read, until the file is closed.
        with pa_parquet.ParquetFile(path, read_dictionary=_REPEATING, pre_buffer=False) as file:
            yield from file.iter_batches(ROWS_PER_CHUNK, columns=list(columns))
    else:
        options = pa_csv.ReadOptions(block_size=_CSV_BYTES_PER_CHUNK)
        with pa_csv.open_csv(
            path, read_options=options, convert_options=convert_options(columns)
        ) as reader:
            yield from reader
