"""`python -m bridge ui`: MLflow's pages on the store that the history goes to."""

import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from bridge.mlflow_schema import check_tables
from bridge.tracking_uri import TrackingStore
from service.logs import say
from service.monitoring.mlflow_links import experiment_link

_LEAN = {
    # Without this the server runs sixteen processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
}


_LOGS = Path(__file__).with_name("mlflow_server_logs.json")
"""Its log, in our form."""
_SEARCHED = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]


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
    say(f"the history in MLflow: {link}", to=sys.stdout)
    if store.is_server:
        return 0
    if store.is_database and (store.database is None or store.database.exists()):
        check_tables(store)
    store.prepare()
    address = urlsplit(ui_url)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--uvicorn-opts", f"--log-config {shlex.quote(str(_LOGS))}"),
        *("--host", address.hostname or "127.0.0.1", "--port", str(address.port or 5000)),
    ]
    if store.artifact_location is not None:
        command += ["--default-artifact-root", store.artifact_location]
    with suppress(KeyboardInterrupt):
        # Not among the arguments, which everybody on the host can read: it may hold a password.
        given = {"MLFLOW_BACKEND_STORE_URI": store.uri, "PYTHONPATH": os.pathsep.join(_SEARCHED)}
        return subprocess.call(command, env={**os.environ, **_LEAN, **given})  # noqa: S603 - our own words
    return 0
