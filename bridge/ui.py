"""`python -m bridge ui`: MLflow's pages on the store that the history goes to."""

import os
import subprocess
import sys
from contextlib import suppress
from urllib.parse import urlsplit

from bridge.mlflow_schema import check_tables
from bridge.tracking_uri import TrackingStore
from service.monitoring.mlflow_links import experiment_link

_LEAN = {
    # Without these the server runs sixteen processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def open_ui(store: TrackingStore, *, ui_url: str, experiment_id: str | None) -> int:
    """Say where to look, and serve the pages where the store is no server itself.

    Args:
        store: Where the history goes.
        ui_url: Where it is to be seen.
        experiment_id: Of the history; None while nothing was written.

    Raises:
        TrackingUnavailableError: A database does not answer, or is another MLflow's: the server
            would change its tables without asking.
    """
    link = ui_url if experiment_id is None else experiment_link(ui_url, experiment_id)
    print(f"the history in MLflow: {link}", flush=True)
    if store.is_server:
        return 0
    if store.is_database and (store.database is None or store.database.exists()):
        check_tables(store)
    store.prepare()
    address = urlsplit(ui_url)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", address.hostname or "127.0.0.1", "--port", str(address.port or 5000)),
    ]
    if store.artifact_location is not None:
        command += ["--default-artifact-root", store.artifact_location]
    with suppress(KeyboardInterrupt):
        # Not among the arguments, which everybody on the host can read: it may hold a password.
        given = {"MLFLOW_BACKEND_STORE_URI": store.uri}
        return subprocess.call(command, env={**os.environ, **_LEAN, **given})  # noqa: S603 - our own words
    return 0
