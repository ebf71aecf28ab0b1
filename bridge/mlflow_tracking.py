"""MLflow as the place where the history is kept; the only module that imports it.

MLflow's own retries are off: a call that fails is told of at once, and the outbox tries again.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from bridge.mlflow_schema import check_tables
from bridge.tracking import (
    MODEL_FOLDER,
    Records,
    RefusedError,
    RunGoneError,
    TrackingUnavailableError,
)
from bridge.tracking_uri import TrackingStore
from service.formats import written_later
from service.monitoring.tracking import Point, TrackedRun

_TIMEOUT_SECONDS = 5
# MLflow itself waits 20 s for a locked SQLite file, and then does what it was asked to.
_DOUBT_SECONDS = 30.0
# Read by MLflow when it is imported and at each call.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_TIMEOUT_SECONDS),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
os.environ.update(_ENVIRONMENT)

from mlflow.entities import (  # noqa: E402 - reads the variables above
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.db.utils import _initialize_tables  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

RUN_KEY_TAG, VERSION_TAG, FORMAT_TAG = "ctr.run_key", "ctr.version", "ctr.format"
RUN_FORMAT = 1
"""Of what a run holds: its tags, and what its metrics mean."""
_LONGEST_PARAM = 500
_METRICS_PER_CALL = 1000
_RUNS_PER_PAGE, _PAGES_LOOKED_AT = 1000, 5
_LONGEST_NAME = 250
_GONE = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}
_REFUSED = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}
_REASONS = {
    "PERMISSION_DENIED": "forbidden",
    "CUSTOMER_UNAUTHORIZED": "unauthorized",
    "UNAUTHENTICATED": "unauthorized",
}


class MlflowTracking:
    """One experiment of one tracking store; implements :class:`bridge.tracking.Tracking`."""

    def __init__(
        self, store: TrackingStore, experiment_name: str, *, doubt_seconds: float = _DOUBT_SECONDS
    ) -> None:
        self._doubt_seconds = doubt_seconds
        # A run that may still come into being must not be created again.
        self._in_doubt_until: dict[str, float] = {}
        self._store = store
        self._experiment_name = experiment_name
        self._experiment_id: str | None = None
        self._client: MlflowClient | None = None

    @property
    def experiment_id(self) -> str | None:
        """Known once connected."""
        return self._experiment_id

    def connect(self) -> str:
        """Find, restore or create the experiment; see the port."""
        os.environ.update(_ENVIRONMENT)  # Other commands are patient, in the same process too.
        with self._own_errors():
            if self._store.database is not None and not self._store.database.exists():
                _create(self._store.database)
            self._store.prepare()
            self._client = self._opened()
            found = self._client.get_experiment_by_name(self._experiment_name)
            if found is None:
                self._experiment_id = self._client.create_experiment(
                    self._experiment_name, artifact_location=self._store.artifact_location
                )
            else:
                self._refuse_newer(self._client, found.experiment_id)
                self._experiment_id = found.experiment_id
                if found.lifecycle_stage == "deleted":
                    self._client.restore_experiment(found.experiment_id)
        return f"{self._store.name}#{self._experiment_id}"

    def look(self) -> Records:
        """Say what is there, and change nothing.

        Raises:
            TrackingUnavailableError: The store does not answer.
        """
        with self._own_errors():
            self._store.allow()
            client = self._opened()
            found = client.get_experiment_by_name(self._experiment_name)
            if found is None:
                return Records(None)
            runs: list[Run] = []
            token: str | None = None
            for _ in range(_PAGES_LOOKED_AT):
                page = client.search_runs(
                    [found.experiment_id],
                    filter_string=f"tags.`{RUN_KEY_TAG}` LIKE '%'",
                    max_results=_RUNS_PER_PAGE,
                    page_token=token,
                )
                runs += page
                token = page.token
                if not token:
                    break
        ids: dict[str, list[str]] = {}
        for run in reversed(runs):
            ids.setdefault(run.data.tags[RUN_KEY_TAG], []).append(run.info.run_id)
        return Records(
            experiment_id=found.experiment_id,
            deleted=found.lifecycle_stage == "deleted",
            runs=len(runs),
            complete=not token,
            doubled={key: several for key, several in ids.items() if len(several) > 1},
        )

    def find_or_create(self, run: TrackedRun, parent_id: str | None) -> str:
        """Find a run by its key; of several the oldest; else create it; see the port."""
        client, experiment_id = self._connected()
        with self._own_errors():
            found = client.search_runs(
                [experiment_id],
                filter_string=f"tags.`{RUN_KEY_TAG}` = '{run.key}'",
                run_view_type=ViewType.ALL,
                order_by=["attributes.start_time ASC"],
                max_results=2,
            )
            if found:
                info = found[0].info
                if info.lifecycle_stage == "deleted":
                    client.restore_run(info.run_id)
                return str(info.run_id)
            if time.monotonic() < self._in_doubt_until.get(run.key, 0.0):
                raise TrackingUnavailableError(
                    "whether a run was created is not known; it is looked for again", "in_doubt"
                )
            parent = {} if parent_id is None else {"mlflow.parentRunId": parent_id}
            # Until the answer is there: a creation that is not answered may happen later.
            self._in_doubt_until[run.key] = time.monotonic() + self._doubt_seconds
            created = client.create_run(
                experiment_id,
                start_time=run.start_ms,
                run_name=run.name[:_LONGEST_NAME],
                tags={**run.tags, **parent, RUN_KEY_TAG: run.key, FORMAT_TAG: str(RUN_FORMAT)},
            )
            del self._in_doubt_until[run.key]
            return str(created.info.run_id)

    def tell(self, run_id: str, points: Sequence[Point], tags: Mapping[str, str]) -> None:
        """Add points and set tags; see the port."""
        client, _ = self._connected()
        metrics = [Metric(p.name, p.value, p.timestamp_ms, p.step) for p in points]
        labels = [RunTag(name, value) for name, value in tags.items()]
        with self._own_errors(restore=(client, run_id)):
            if self._store.doubles_points:
                metrics = _missing(client, run_id, metrics)
            for start in range(0, max(len(metrics), 1), _METRICS_PER_CALL):
                client.log_batch(
                    run_id,
                    metrics=metrics[start : start + _METRICS_PER_CALL],
                    tags=labels if start == 0 else [],
                    synchronous=True,
                )

    def tell_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Set parameters; see the port."""
        client, _ = self._connected()
        with self._own_errors(restore=(client, run_id)):
            named = [Param(name, value[:_LONGEST_PARAM]) for name, value in params.items()]
            client.log_batch(run_id, params=named, synchronous=True)

    def attach(self, run_id: str, file: Path, folder: str) -> None:
        """Store a file; see the port."""
        client, _ = self._connected()
        with self._own_errors(restore=(client, run_id)):
            client.log_artifact(run_id, str(file), folder)

    def register(self, run_id: str, model_name: str, version: str) -> None:
        """Make a version of a registered model; see the port."""
        client, _ = self._connected()
        with self._own_errors():
            try:
                client.create_registered_model(model_name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            known = client.search_model_versions(f"name = '{model_name}'")
            if any(found.tags.get(VERSION_TAG) == version for found in known):
                return
            source = client.get_run(run_id).info.artifact_uri
            client.create_model_version(
                model_name, f"{source}/{MODEL_FOLDER}", run_id, tags={VERSION_TAG: version}
            )

    def finish(self, run_id: str, end_ms: int) -> None:
        """Mark a run as finished; see the port."""
        client, _ = self._connected()
        with self._own_errors(restore=(client, run_id)):
            client.set_terminated(run_id, status="FINISHED", end_time=end_ms)

    def _refuse_newer(self, client: MlflowClient, experiment_id: str) -> None:
        others = client.search_runs(
            [experiment_id],
            filter_string=f"tags.`{FORMAT_TAG}` != '{RUN_FORMAT}'",
            max_results=_RUNS_PER_PAGE,
        )
        said = [run.data.tags[FORMAT_TAG] for run in others]
        newest = max((int(form) for form in said if form.isdecimal()), default=RUN_FORMAT)
        if newest > RUN_FORMAT:
            raise TrackingUnavailableError(
                written_later(
                    f"the experiment {self._experiment_name} of {self._store.name}",
                    form=FORMAT_TAG,
                    found=newest,
                    known=RUN_FORMAT,
                    instead="set MLFLOW_EXPERIMENT_NAME to another",
                ),
                "schema",
            )

    def _opened(self) -> MlflowClient:
        if self._store.is_database:
            check_tables(self._store)
        return self._client or MlflowClient(tracking_uri=self._store.uri)

    def _connected(self) -> tuple[MlflowClient, str]:
        if self._client is None or self._experiment_id is None:
            raise TrackingUnavailableError("not connected yet", "unreachable")
        return self._client, self._experiment_id

    @contextmanager
    def _own_errors(self, restore: tuple[MlflowClient, str] | None = None) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            message = self._said(error)
            if restore is not None and "must be in the 'active' state" in message:
                client, run_id = restore
                with self._own_errors():
                    client.restore_run(run_id)
                raise TrackingUnavailableError(
                    "a run had been deleted; it is restored", "run_deleted"
                ) from error
            if restore is not None and error.error_code in _GONE:
                raise RunGoneError(message) from error
            if restore is not None and error.error_code in _REFUSED:
                raise RefusedError(message) from error
            reason = _REASONS.get(error.error_code, "unreachable")
            raise TrackingUnavailableError(message, reason) from error
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            raise TrackingUnavailableError(self._said(error), "unreachable") from error

    def _said(self, error: Exception) -> str:
        return " ".join(self._store.redacted(str(error)).split())[:500]


def _create(database: Path) -> None:
    """Create a SQLite database, all or nothing: MLflow cannot go on where it was cut short."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=database.parent, prefix=f".{database.name}-") as folder:
        new = Path(folder) / database.name
        engine = create_engine(URL.create("sqlite", database=str(new)), poolclass=NullPool)
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
        if not database.exists():
            new.rename(database)


def _missing(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> list[Metric]:
    """Drop what the run has already: the file store keeps doubles, databases do not."""
    missing: list[Metric] = []
    known: dict[str, set[tuple[int, int]]] = {}
    for metric in metrics:
        if metric.key not in known:
            history = client.get_metric_history(run_id, metric.key)
            known[metric.key] = {(point.step, point.timestamp) for point in history}
        if (metric.step, metric.timestamp) not in known[metric.key]:
            missing.append(metric)
    return missing
