"""Old runs out of MLflow into an archive of files, and verified there before they are deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bridge.keeping.atomic_files import whole_folder
from bridge.keeping.mlflow_history import MlflowHistory
from bridge.keeping.run_archive import ARTIFACTS, read_run, write_run
from bridge.keeping.stored_runs import HistoryError, StoredRun, digest_of
from service.monitoring.tracking import RunKind
from service.progress import shown

_DAILY = {RunKind.MONITORING, RunKind.SAMPLES}
_FINISHED = "FINISHED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What was done, or would be."""

    applied: bool
    output: str
    runs: int
    points: int
    first_day: str
    last_day: str
    left_alone: Sequence[str]
    """Old runs that are not archived, and why."""


def archive(
    history: MlflowHistory, *, before: date, output: Path, experiment: str, apply: bool
) -> Archived:
    """Archive the finished daily runs of days before ``before``.

    Each run is written, read back, and compared with what MLflow then has; only then it is deleted.
    After an interruption the same command goes on.

    Args:
        history: Where the runs are.
        before: UTC day; runs of earlier ones go.
        output: Folder of the archive, which grows.
        experiment: Name of the runs' experiment.
        apply: Whether to do it; else nothing is written or deleted.

    Raises:
        DamagedHistoryError: What is in the archive already is damaged.
        HistoryError: A run could not be archived; it is not deleted.
        OSError: The disk does not take it.
    """
    old = [run for run in history.runs() if _is_daily(run) and run.tags["ctr.day"] < str(before)]
    reasons = {run.id: _why_not(run) for run in old}
    due = [run for run in old if not reasons[run.id]]
    points = 0
    for run in shown(due, "archiving", "run"):
        points += (
            _archive_run(history, run, output, experiment) if apply else len(history.points(run))
        )
    days = sorted(run.tags["ctr.day"] for run in due)
    return Archived(
        applied=apply,
        output=str(output),
        runs=len(due),
        points=points,
        first_day=days[0] if days else "",
        last_day=days[-1] if days else "",
        left_alone=[f"{run.name}: {reasons[run.id]}" for run in old if reasons[run.id]],
    )


def _archive_run(history: MlflowHistory, run: StoredRun, output: Path, experiment: str) -> int:
    day = date.fromisoformat(run.tags["ctr.day"])
    folder = output / day.isoformat() / run.id
    if not folder.exists():  # Else an earlier command was interrupted before deleting.
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as part:
            history.save_artifacts(run.id, part / ARTIFACTS)
            write_run(part, run, history.points(run), experiment)
    kept, stored = read_run(folder), history.read(run.id)
    same = (
        kept.meta.describes(stored)
        and kept.meta.points_sha256 == digest_of(history.points(stored))
        and kept.meta.artifact_sizes == history.artifact_sizes(run.id)
    )
    if not same:
        raise HistoryError(
            f"{run.name} is not deleted: it is no longer what {folder} says; "
            "remove that folder and try again"
        )
    history.delete(run.id)
    return kept.meta.points


def _is_daily(run: StoredRun) -> bool:
    return run.tags.get("ctr.kind") in _DAILY and "ctr.day" in run.tags


def _why_not(run: StoredRun) -> str:
    if run.status != _FINISHED:
        return "not finished; the bridge may still have something to send"
    if run.is_linked:
        return "refers to data sets or models, which an archive does not hold"
    return ""
