"""A real MLflow server on the loopback, kept small: one worker, no job runner."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from ports import free_port
from prometheus_server import wait_until

STARTED_WITHIN_SECONDS = 60.0
_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@contextmanager
def running_mlflow_server(
    backend_uri: str | None,
    folder: Path,
    *,
    extra_args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start a server in a folder and give its URL; without a URI it is a plain ``mlflow ui``."""
    port = free_port()
    store = () if backend_uri is None else ("--backend-store-uri", backend_uri)
    command = [
        *(sys.executable, "-m", "mlflow", "ui", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port), *store, *extra_args),
    ]
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / f"mlflow-{port}.log").open("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**unset, **_ENVIRONMENT, **(env or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=5) as client:
                wait_until(
                    lambda: _healthy(client, process),
                    seconds=STARTED_WITHIN_SECONDS,
                    what=f"MLflow starts; see {log.name}",
                )
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _healthy(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "MLflow ended at once"
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
