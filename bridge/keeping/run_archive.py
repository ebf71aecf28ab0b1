"""One run as a folder that needs no MLflow to be read: points in Parquet, the rest in JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pyarrow import parquet

from bridge.keeping.sealed_files import FileSeal, check_seals, read_sealed, seal, write_sealed
from bridge.keeping.stored_runs import (
    DamagedHistoryError,
    HistoryError,
    StoredRun,
    digest_of,
    in_order,
)
from service.monitoring.tracking import Point

META_FILE, POINTS_FILE, ARTIFACTS = "meta.json", "points.parquet", "artifacts"
_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("metric", pa.string()),
    ("value", pa.float64()),
    ("timestamp_ms", pa.int64()),
    ("step", pa.int64()),
]
_SCHEMA = pa.schema(_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """What ``meta.json`` says."""

    format: Literal["ctr-run-archive 1"]
    experiment: str
    run_id: str
    name: str
    status: str
    start_ms: int
    end_ms: int | None
    tags: dict[str, str]
    params: dict[str, str]
    points: int
    points_sha256: str
    """Over the points themselves, whatever the file is like."""
    archived_at: str
    mlflow_version: str
    files: tuple[FileSeal, ...]

    def as_stored(self, tags: dict[str, str]) -> StoredRun:
        """Give the run as one to be stored, with these tags."""
        return StoredRun(
            id=self.run_id,
            name=self.name,
            status=self.status,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            tags=tags,
            params=self.params,
            metric_names=frozenset(),
            is_linked=False,
        )

    @property
    def artifact_sizes(self) -> Mapping[str, int]:
        """Length of each of the run's artifacts, by path."""
        folder = f"{ARTIFACTS}/"
        return {
            file.path.removeprefix(folder): file.bytes
            for file in self.files
            if file.path.startswith(folder)
        }

    def describes(self, run: StoredRun) -> bool:
        """Whether a stored run is still, without its points, what was archived."""
        return (self.name, self.status, self.start_ms, self.end_ms, self.tags, self.params) == (
            *(run.name, run.status, run.start_ms, run.end_ms),
            *(run.tags, run.params),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A run in an archive, read and verified."""

    folder: Path
    meta: ArchivedRun
    points: Sequence[Point]
    """In order."""

    @property
    def artifacts(self) -> Path | None:
        """Folder of the run's artifacts, where it has any."""
        folder = self.folder / ARTIFACTS
        return folder if folder.is_dir() else None


def write_run(folder: Path, run: StoredRun, points: Sequence[Point], experiment: str) -> None:
    """Write a run into a folder, in which its artifacts are already."""
    ordered = in_order(points)
    columns = zip(*ordered, strict=True) if ordered else ((),) * len(_COLUMNS)
    arrays = [
        pa.array(column, type=kind) for column, (_, kind) in zip(columns, _COLUMNS, strict=True)
    ]
    table = pa.Table.from_arrays(arrays, schema=_SCHEMA)
    parquet.write_table(table, folder / POINTS_FILE, compression="zstd")
    meta = ArchivedRun(
        format="ctr-run-archive 1",
        experiment=experiment,
        run_id=run.id,
        name=run.name,
        status=run.status,
        start_ms=run.start_ms,
        end_ms=run.end_ms,
        tags=dict(run.tags),
        params=dict(run.params),
        points=len(ordered),
        points_sha256=digest_of(ordered),
        archived_at=datetime.now(UTC).isoformat(),
        mlflow_version=version("mlflow"),
        files=tuple(seal(folder, (path for path in folder.rglob("*") if path.is_file()))),
    )
    write_sealed(folder / META_FILE, meta)


def read_run(folder: Path) -> RunFolder:
    """Read and verify a run.

    Raises:
        DamagedHistoryError: It is not what was written.
    """
    meta = read_sealed(folder / META_FILE, ArchivedRun)
    check_seals(folder, meta.files)
    try:
        table = parquet.read_table(folder / POINTS_FILE, schema=_SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise DamagedHistoryError(f"{folder} cannot be read: {error}") from error
    columns = [table.column(name).to_pylist() for name, _ in _COLUMNS]
    points = [Point(*row) for row in zip(*columns, strict=True)]
    if len(points) != meta.points or digest_of(points) != meta.points_sha256:
        raise DamagedHistoryError(f"{folder} is damaged: the points are not those noted")
    return RunFolder(folder=folder, meta=meta, points=points)


def folders_in(archive: Path) -> Iterator[Path]:
    """Give the folders of all runs of an archive, the oldest day first.

    Raises:
        HistoryError: There is none.
    """
    found = sorted(file.parent for file in archive.glob(f"*/*/{META_FILE}"))
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise HistoryError(f"{archive} is neither a backup nor an archive of runs")
    yield from found
