"""The file of scores: one row for each row of the log, in its order."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from numpy.typing import NDArray

from service.scoring.whole_file import written_whole

Write = Callable[[NDArray[np.float64], NDArray[np.bool_] | None], None]
"""Appends predictions, shape ``(n,)``, and the clicks of the same rows where they are known."""

# The least effort: more would take as long as the scoring, and save a tenth of the file.
_GZIP_LEVEL = 1


@contextmanager
def scores_file(path: Path, *, with_clicks: bool) -> Iterator[Write]:
    """Write a ``.csv``, ``.csv.gz`` or ``.parquet`` file, by its name; whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    schema = pa.schema({"predicted_ctr": pa.float64()})
    if with_clicks:
        schema = schema.append(pa.field("click", pa.int8()))

    with written_whole(path) as unfinished, _writer(path, unfinished, schema) as writer:

        def write(predictions: NDArray[np.float64], clicks: NDArray[np.bool_] | None) -> None:
            columns = [predictions] if clicks is None else [predictions, clicks.astype(np.int8)]
            writer.write_table(pa.table(columns, schema=schema))

        yield write


@contextmanager
def _writer(
    path: Path, unfinished: Path, schema: pa.Schema
) -> Iterator[pa_parquet.ParquetWriter | pa_csv.CSVWriter]:
    if path.suffix == ".parquet":
        with pa_parquet.ParquetWriter(unfinished, schema, use_dictionary=False) as parquet:
            yield parquet
        return
    plain = pa_csv.WriteOptions(quoting_header="none")  # type: ignore[call-arg]  # not in its stubs
    with (
        _text(path, unfinished) as file,
        pa_csv.CSVWriter(file, schema, write_options=plain) as csv,
    ):
        yield csv


def _text(path: Path, unfinished: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(unfinished, "wb", compresslevel=_GZIP_LEVEL))
    return unfinished.open("wb")
