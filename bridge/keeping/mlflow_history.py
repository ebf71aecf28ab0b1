"""The kept history in MLflow: reading it as a whole, taking runs out and putting them back."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bridge.keeping.metric_rows import MetricRows
from bridge.keeping.stored_runs import HistoryError, StoredRun
from bridge.mlflow_schema import check_tables
from bridge.mlflow_tracking import RUN_KEY_TAG  # sets what MLflow reads when it is imported
from bridge.tracking_uri import TrackingStore
from service.monitoring.tracking import Point

# isort: split
from mlflow.entities import Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

# Nobody's predictions wait for these commands, and a long history is a long answer.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_RUNS_PER_PAGE = 1000
_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100
_ID_LETTERS = frozenset("0123456789abcdef")


class MlflowHistory:
    """One experiment of one tracking store.

    Raises:
        HistoryError: In every method, when the store does not answer or refuses.
        TrackingUnavailableError: At the beginning, where the tables are those of another MLflow.
    """

    def __init__(self, store: TrackingStore, experiment_name: str) -> None:
        os.environ.update(_ENVIRONMENT)
        store.prepare()
        if store.is_database:
            check_tables(store)  # MLflow would change those of another release without asking.
        self._store = store
        self._experiment_name = experiment_name
        self._rows = None if _is_remote(store) or store.doubles_points else MetricRows(store.uri)
        with _own_errors():
            self._client = MlflowClient(tracking_uri=store.uri)
            found = self._client.get_experiment_by_name(experiment_name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise HistoryError(f"the experiment {experiment_name} is deleted; restore it first")
        self._experiment_id: str | None = None if found is None else found.experiment_id

    def runs(self, *, started_from_ms: int = 0) -> Iterator[StoredRun]:
        """Give the runs that are not deleted, the oldest first, page by page."""
        return self._search(f"attributes.start_time >= {started_from_ms}", ViewType.ACTIVE_ONLY)

    def with_key(self, run_key: str) -> StoredRun | None:
        """Give the run of a key that is not deleted."""
        return next(self._search(_tagged(RUN_KEY_TAG, run_key), ViewType.ACTIVE_ONLY), None)

    def with_tag(self, name: str, value: str) -> StoredRun | None:
        """Give a run that is not deleted by one of its tags."""
        return next(self._search(_tagged(name, value), ViewType.ACTIVE_ONLY), None)

    def deleted(self, run_id: str) -> StoredRun | None:
        """Give a run that is deleted but not yet collected as garbage."""
        if set(run_id) - _ID_LETTERS or self._experiment_id is None:
            return None
        condition = f"attributes.run_id = '{run_id}'"
        return next(self._search(condition, ViewType.DELETED_ONLY), None)

    def points(self, run: StoredRun, names: Collection[str] | None = None) -> Sequence[Point]:
        """Give all points of a run, in no order; of some metrics or, with None, of all."""
        if self._rows is not None:
            return self._rows.points(run.id, names)
        found: list[Point] = []
        with _own_errors():
            for name in sorted(run.metric_names if names is None else names):
                found += (
                    Point(name, metric.value, metric.timestamp, metric.step)
                    for metric in self._client.get_metric_history(run.id, name)
                )
        return found

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted; ``mlflow gc`` removes it."""
        with _own_errors():
            self._client.delete_run(run_id)

    def undelete(self, run_id: str) -> None:
        """Take that back."""
        with _own_errors():
            self._client.restore_run(run_id)

    def create(self, run: StoredRun) -> str:
        """Create a run with the name, start, tags and parameters of another; returns its id."""
        with _own_errors():
            if self._experiment_id is None:
                self._experiment_id = self._client.create_experiment(
                    self._experiment_name, artifact_location=self._store.artifact_location
                )
            created = self._client.create_run(
                self._experiment_id,
                start_time=run.start_ms,
                run_name=run.name,
                tags=dict(run.tags),
            )
            return str(created.info.run_id)

    def fill(self, run_id: str, run: StoredRun, points: Sequence[Point]) -> None:
        """Add parameters and points, all or again: what is there already stays once."""
        params = [Param(name, value) for name, value in run.params.items()]
        metrics = [Metric(p.name, p.value, p.timestamp_ms, p.step) for p in points]
        with _own_errors():
            for start in range(0, len(params), _PARAMS_PER_CALL):
                self._client.log_batch(run_id, params=params[start : start + _PARAMS_PER_CALL])
            for start in range(0, len(metrics), _METRICS_PER_CALL):
                self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_CALL])

    def finish(self, run_id: str, run: StoredRun, *, without_tag: str) -> None:
        """Give a run the status and end of another, and drop a tag."""
        with _own_errors():
            self._client.set_terminated(run_id, status=run.status, end_time=run.end_ms)
            self._client.delete_tag(run_id, without_tag)

    def read(self, run_id: str) -> StoredRun:
        """Give a run by its id."""
        with _own_errors():
            return _stored(self._client.get_run(run_id))

    def artifact_sizes(self, run_id: str, folder: str = "") -> Mapping[str, int]:
        """Give the length of each of a run's artifacts, by path."""
        found: dict[str, int] = {}
        with _own_errors():
            for entry in self._client.list_artifacts(run_id, folder or None):
                if entry.is_dir:
                    found.update(self.artifact_sizes(run_id, entry.path))
                else:
                    found[entry.path] = entry.file_size or 0
        return found

    def save_artifacts(self, run_id: str, folder: Path) -> None:
        """Copy a run's artifacts into a folder, which is made if there are any."""
        with _own_errors():
            if self._client.list_artifacts(run_id):
                folder.mkdir()
                self._client.download_artifacts(run_id, "", str(folder))

    def log_artifacts(self, run_id: str, folder: Path) -> None:
        """Add every file of a folder to a run's artifacts."""
        with _own_errors():
            self._client.log_artifacts(run_id, str(folder))

    def _search(self, condition: str, view: int) -> Iterator[StoredRun]:
        if self._experiment_id is None:
            return
        token: str | None = None
        while True:
            with _own_errors():
                page = self._client.search_runs(
                    [self._experiment_id],
                    filter_string=condition,
                    run_view_type=view,
                    order_by=["attributes.start_time ASC", "attributes.run_name ASC"],
                    max_results=_RUNS_PER_PAGE,
                    page_token=token,
                )
            yield from map(_stored, page)
            token = page.token
            if not token:
                return


def _is_remote(store: TrackingStore) -> bool:
    return store.uri.startswith(("http:", "https:"))


def _tagged(name: str, value: str) -> str:
    if "'" in value:
        raise HistoryError(f"{value!r} cannot be searched for: it holds a quotation mark")
    return f"tags.`{name}` = '{value}'"


def _stored(run: Run) -> StoredRun:
    inputs, outputs = run.inputs, run.outputs
    linked = [
        *(inputs.dataset_inputs if inputs else ()),
        *(inputs.model_inputs if inputs else ()),
        *(outputs.model_outputs if outputs else ()),
    ]
    return StoredRun(
        id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        start_ms=run.info.start_time,
        end_ms=run.info.end_time,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metric_names=frozenset(run.data.metrics),
        is_linked=bool(linked),
    )


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise HistoryError(" ".join(str(error).split())[:500]) from error
