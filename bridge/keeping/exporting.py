"""The last days of the history as one table, for people who analyse elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.keeping.atomic_files import whole_file
from bridge.keeping.mlflow_history import MlflowHistory
from bridge.keeping.stored_runs import HistoryError
from bridge.keeping.table_files import CsvTable, ParquetTable, TableFile
from bridge.keeping.window_table import common_names, window_rows
from bridge.windows import SECONDS_PER_DAY
from service.monitoring.tracking import RunKind
from service.progress import shown

_FORMATS: Mapping[str, type[CsvTable | ParquetTable]] = {"csv": CsvTable, "parquet": ParquetTable}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    output: str
    rows: int
    runs: int
    metrics: int
    first_window_end: str
    last_window_end: str


def export(
    history: MlflowHistory,
    *,
    since: float,
    output: Path,
    file_format: str,
    model: str | None = None,
) -> Exported:
    """Write the windows that ended after ``since``, in Unix seconds, run by run.

    Memory holds the runs' tags and the points of one run at a time.

    Raises:
        HistoryError: There is nothing to write, or the history cannot be read.
        OSError: The file cannot be written; what was there before is still there.
    """
    earliest_ms = int((since - SECONDS_PER_DAY) * 1000)
    found = [
        run
        for run in history.runs(started_from_ms=earliest_ms)
        if run.tags.get("ctr.kind") == RunKind.MONITORING
    ]
    runs = [run for run in found if model in {None, run.tags.get("model_name")}]
    if not runs:
        known = ", ".join(sorted({run.tags.get("model_name", "") for run in found}))
        only = f" of {model}; there are runs of {known}" if found else ""
        raise HistoryError(f"no run in this time{only}")
    metrics = sorted(frozenset[str]().union(*map(common_names, runs)))
    rows, with_rows, ends = 0, 0, []
    table: TableFile
    with whole_file(output) as part:
        with _FORMATS[file_format](part, metrics) as table:
            for run in shown(runs, "exporting", "run"):
                points = history.points(run, common_names(run))
                windows = [row for row in window_rows(run, points) if row.end.timestamp() > since]
                table.write(windows)
                rows += len(windows)
                with_rows += bool(windows)
                ends += [row.end for row in windows[:1] + windows[-1:]]
        if not rows:
            raise HistoryError("no window in this time")
    return Exported(
        output=str(output),
        rows=rows,
        runs=with_rows,
        metrics=len(metrics),
        first_window_end=min(ends).isoformat(),
        last_window_end=max(ends).isoformat(),
    )
