"""Runs from an archive back into MLflow, exactly as they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.keeping.mlflow_history import MlflowHistory
from bridge.keeping.run_archive import ArchivedRun, RunFolder, folders_in, read_run
from bridge.keeping.stored_runs import HistoryError, StoredRun, digest_of
from bridge.mlflow_tracking import RUN_KEY_TAG
from bridge.tracking_uri import TrackingStore
from service.progress import shown

_PARENT_TAG = "mlflow.parentRunId"
# On a run that is not complete yet; the value is its id in the archive.
_RESTORING_TAG = "ctr.restoring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unarchived:
    """What was done."""

    store: str
    runs: int
    """Created, or brought back from deletion."""
    points: int
    there_already: int
    """Runs that the store had, with every bit the same."""


def unarchive(archive: Path, target: TrackingStore) -> Unarchived:
    """Put all runs of an archive into a store.

    Raises:
        DamagedHistoryError: A run is not what was written; nothing was done.
        HistoryError: The store has another run for a key; it was not touched.
    """
    if target.doubles_points:
        raise HistoryError(f"points would be doubled there. {target.warning}")
    folders = {folder: read_run(folder).meta for folder in folders_in(archive)}
    stores: dict[str, MlflowHistory] = {}
    ids: dict[str, str] = {}
    restored, points, known = 0, 0, 0
    ordered = _parents_first(folders)
    for folder in shown(ordered, "restoring", "run"):
        run = read_run(folder)
        experiment = run.meta.experiment
        if experiment not in stores:
            stores[experiment] = MlflowHistory(target, experiment)
        one = _Import(stores[experiment], run, _tags(run.meta, ids))
        ids[run.meta.run_id] = one.find_same() or one.bring_back() or one.write()
        if one.was_there:
            known += 1
        else:
            restored += 1
            points += len(run.points)
    return Unarchived(store=target.name, runs=restored, points=points, there_already=known)


class _Import:
    """One run on its way back."""

    def __init__(self, history: MlflowHistory, run: RunFolder, tags: dict[str, str]) -> None:
        self._history = history
        self._run = run
        self._wanted = run.meta.as_stored(tags)
        self.was_there = False

    def find_same(self) -> str | None:
        """Give the id of the run that the store has already.

        Raises:
            HistoryError: It has one that is different.
        """
        key = self._wanted.tags.get(RUN_KEY_TAG)
        found = None if key is None else self._history.with_key(key)
        if found is None or _RESTORING_TAG in found.tags:
            return None
        self._check(found, "there is another run with its key, which is left as it is")
        self.was_there = True
        return found.id

    def bring_back(self) -> str | None:
        """Undo the deletion where the run still is in the store that it came from."""
        found = self._history.deleted(self._wanted.id)
        if found is None:
            return None
        self._check(found, "it was changed after it was archived; it is still deleted")
        self._history.undelete(found.id)
        return found.id

    def write(self) -> str:
        """Create the run, or complete one that an interrupted command has begun."""
        begun = self._history.with_tag(_RESTORING_TAG, self._wanted.id)
        if begun is None:
            marked = self._run.meta.as_stored(
                {**self._wanted.tags, _RESTORING_TAG: self._wanted.id}
            )
            run_id = self._history.create(marked)
        else:
            run_id = begun.id
        self._history.fill(run_id, self._wanted, self._run.points)
        if self._run.artifacts is not None:
            self._history.log_artifacts(run_id, self._run.artifacts)
        self._history.finish(run_id, self._wanted, without_tag=_RESTORING_TAG)
        self._check(self._history.read(run_id), "the store did not keep it as it was")
        return run_id

    def _check(self, found: StoredRun, otherwise: str) -> None:
        same = (
            (found.name, found.status, found.start_ms, found.end_ms, found.params)
            == (
                *(self._wanted.name, self._wanted.status, self._wanted.start_ms),
                *(self._wanted.end_ms, self._wanted.params),
            )
            and _without_parent(found.tags) == _without_parent(self._wanted.tags)
            and digest_of(self._history.points(found)) == self._run.meta.points_sha256
        )
        if not same:
            raise HistoryError(f"{self._wanted.name} cannot be restored: {otherwise}")


def _tags(meta: ArchivedRun, ids: Mapping[str, str]) -> dict[str, str]:
    """Tags that name the parent by the id it has now."""
    parent = ids.get(meta.tags.get(_PARENT_TAG, ""))
    return meta.tags if parent is None else {**meta.tags, _PARENT_TAG: parent}


def _without_parent(tags: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in tags.items() if name != _PARENT_TAG}


def _parents_first(folders: Mapping[Path, ArchivedRun]) -> Sequence[Path]:
    return sorted(folders, key=lambda folder: (_PARENT_TAG in folders[folder].tags, folder))
