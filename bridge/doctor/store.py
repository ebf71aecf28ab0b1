"""Looks at the tracking store that this process opens itself, or through a server."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import make_url

from bridge.doctor.findings import Finding, ok, problem, skipped, warning
from bridge.mlflow_schema import Tables, check_tables
from bridge.tracking import Records, TrackingUnavailableError
from bridge.tracking_uri import TrackingStore
from service.monitoring.mlflow_links import experiment_link

_LITTLE_SPACE, _NO_SPACE = 1 << 30, 100 << 20
_SHOWN = 3
# Turns MLflow's telemetry off before it imports it.
_SPEAKS_TO_MLFLOW = "bridge.mlflow_tracking"


def file_store(store: TrackingStore) -> Finding:
    """Whether points may be there twice, and what a plain ``mlflow ui`` opens."""
    if store.files is None and not store.warning:
        return ok("file store", "none is used")
    if store.files is not None:
        found = f"{store.files} is a file store, which MLflow has retired"
        return warning("file store", found, store.warning.partition("to leave it: ")[2])
    found, _, todo = store.warning.partition(": ")
    return warning("file store", found, todo)


def programs(store: TrackingStore) -> Finding:
    """Whether MLflow and the database's driver can be imported."""
    needed = {"MLflow": _SPEAKS_TO_MLFLOW}
    if store.is_database and store.database is None:
        driver = make_url(store.uri).get_driver_name()
        needed[driver] = driver
    for name, module in needed.items():
        try:
            import_module(module)
        except ImportError as error:
            todo = "pip install -r requirements.txt, with the Python that runs the service"
            if name == "psycopg2":
                todo = "write postgresql://, which uses psycopg, or pip install psycopg2-binary"
            return problem("driver", f"{name} cannot be imported: {error}", todo)
    return ok("driver", ", ".join(needed).replace("MLflow", f"MLflow {version('mlflow')}"))


def tables(store: TrackingStore) -> tuple[Finding, Finding, bool]:
    """Say whether a database is reachable and has our tables, and whether it may be read."""
    later = skipped("tables", "the database cannot be asked")
    if store.database is not None and not store.database.exists():
        found = f"{store.name} is not there yet; the bridge creates it when it first sends"
        return ok("reachable", found), skipped("tables", "there are none yet"), False
    try:
        state = check_tables(store)
    except TrackingUnavailableError as error:
        if error.reason == "schema":
            found, _, todo = str(error).rpartition(": ")
            return ok("reachable", store.name), problem("tables", found, todo), False
        todo = "start or mend the database, or correct MLFLOW_TRACKING_URI"
        return problem("reachable", str(error), todo), later, False
    if state is Tables.NONE:
        return ok("reachable", store.name), ok("tables", "not created yet"), False
    return ok("reachable", store.name), ok("tables", "those of the MLflow installed here"), True


def experiment(name: str, records: Records) -> Finding:
    """Whether the experiment is there."""
    if records.experiment_id is None:
        return warning(
            "experiment",
            f"there is none called {name}",
            "the bridge creates it when it first sends; else look at MLFLOW_EXPERIMENT_NAME",
        )
    if records.deleted:
        return problem(
            "experiment",
            f"{name} (id {records.experiment_id}) is deleted, so no page shows it",
            "the bridge restores it when it next connects; or at once: "
            f"mlflow experiments restore --experiment-id {records.experiment_id}",
        )
    return ok("experiment", f"{name} has the id {records.experiment_id}")


def runs(records: Records) -> Finding:
    """Whether there are runs, and one for each key."""
    if records.doubled:
        shown = [f"{key}: {', '.join(ids)}" for key, ids in records.doubled.items()][:_SHOWN]
        return warning(
            "runs",
            f"{len(records.doubled)} of {records.runs} runs are there more than once: "
            + "; ".join(shown),
            "bridges without a common state store wrote, perhaps under one CTR_INSTANCE; name "
            "instances apart, and delete the later run of each: mlflow runs delete --run-id ID",
        )
    if not records.runs:
        return warning(
            "runs",
            "the experiment has no runs of the bridge",
            "see the checks below for what waits",
        )
    return ok("runs", f"{records.runs}, each once" + ("" if records.complete else " (the newest)"))


def space(
    folders: Iterable[Path], free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Finding:
    """Whether the disks take what is still to come."""
    by_folder: Mapping[Path, int] = {folder: free(_existing(folder)) for folder in folders}
    folder, least = min(by_folder.items(), key=lambda item: item[1])
    found = f"{least / (1 << 30):.1f} GiB free for {folder}"
    if least < _NO_SPACE:
        return problem("disk", found, "free some: windows are lost when the state cannot be kept")
    if least < _LITTLE_SPACE:
        return warning("disk", found, "free some")
    return ok("disk", found)


def page(store: TrackingStore, ui_url: str, experiment_id: str | None) -> Finding:
    """Where the runs are seen; the start page of MLflow shows traces instead."""
    link = experiment_link(ui_url, experiment_id or "ID")
    return ok("page", link if store.is_server else f"make ui (python -m bridge ui), then {link}")


def local_folders(store: TrackingStore | None, state_dir: Path) -> Sequence[Path]:
    """Folders of this host that grow."""
    own = () if store is None else (store.database and store.database.parent, store.files)
    return [state_dir.absolute(), *(folder for folder in own if folder is not None)]


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
