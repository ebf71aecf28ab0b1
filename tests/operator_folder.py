"""The folder of somebody who has done what the README says: a copy of the tree, serving."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from documents import ROOT
from drift_traffic import arrays_of, traffic
from ports import free_port
from prometheus_server import wait_until
from service_process import NO_TLS

from service.training.simulation import simulate

START = "make run"
_LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", ".tools", ".env", ".*_cache", ".hypothesis", "__pycache__", "node_modules"),
    *("var", "models", "mlruns", "mlflow.db*"),
)
_PORTS = (8000, 9090, 9093, 9095)
_SETTINGS = {
    # Ticks and windows of seconds, so that there is a history at once.
    "CTR_SNAPSHOT_INTERVAL": "1",
    "CTR_BRIDGE_WINDOW": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_SECONDS = 120.0
_IDS = ("user_id", "ad_id", "device", "placement")


@dataclass(frozen=True)
class OperatorFolder:
    """A folder in which commands are given; the service in it runs."""

    path: Path
    env: Mapping[str, str]
    ports: Mapping[int, int]
    """Where servers are that a page has at their usual ports: those may be taken."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[8000]}"

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Give a command to the shell, as it is written."""
        return subprocess.run(
            ["/bin/bash", "-eu", "-c", self._at_our_ports(command)],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def answers(self, method: str, path: str, query: str) -> bool:
        """Whether an endpoint is there, with every parameter that the query names."""
        document = self._asked("/openapi.json")
        for template, operations in document["paths"].items():
            if _without_names(template) == _without_names(path):
                known = operations.get(method.lower(), {})
                parameters = {given["name"] for given in known.get("parameters", ())}
                return bool(known) and parse_qs(query, keep_blank_values=True).keys() <= parameters
        return False

    @contextmanager
    def running(self, command: str, says: str, **env: str) -> Iterator[None]:
        """Start what runs until it is stopped, wait for what it says, and press Ctrl-C."""
        descriptor, name = tempfile.mkstemp(dir=self.path / "var", suffix=".log")
        log = Path(name)
        with os.fdopen(descriptor, "w") as output:
            process = subprocess.Popen(
                ["/bin/bash", "-eu", "-c", self._at_our_ports(command)],
                cwd=self.path,
                env={**self.env, **env},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:

            def spoke() -> bool:
                assert process.poll() is None, log.read_text()
                return re.search(says, log.read_text()) is not None

            wait_until(spoke, seconds=_SECONDS, what=f"{command} says {says}")
            yield
        finally:
            if process.poll() is None:
                # A terminal tells everybody in the foreground.
                os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        ended_well = {0, -signal.SIGINT, 128 + signal.SIGINT}
        assert process.returncode in ended_well, (
            f"{command}: {process.returncode} {log.read_text()}"
        )

    def have_traffic(self) -> None:
        """Six hundred users come, some click, and the history knows it."""
        rows = _log().select([*_IDS, "hour", "day_of_week"]).slice(0, 600).to_pylist()
        with httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS) as client:
            answer = client.post("/predict_ctr/batch", json={"requests": rows}).raise_for_status()
            events = [
                {"prediction_id": prediction["prediction_id"], "clicked": True}
                for prediction in answer.json()["predictions"][:60]
            ]
            client.post("/feedback", json={"events": events}).raise_for_status()
        sent = datetime.now(UTC)

        def stored() -> bool:
            told = self._asked("/monitoring/stats?model_name=xgboost&window=60s")
            return datetime.fromisoformat(told["window_end"]) > sent

        wait_until(stored, seconds=_SECONDS, what="a snapshot after the traffic")

    def wait_for_history(self) -> None:
        """The bridge has written the first window: a few seconds after the start."""

        def written() -> bool:
            told = self._asked("/monitoring/mlflow")
            return any(run["kind"] == "monitoring" for run in told["runs"])

        wait_until(written, seconds=_SECONDS, what="the bridge writes the first window")

    def wait_for_a_tick(self) -> None:
        """Drift has judged for the first time: fifteen seconds after the start."""

        def judged() -> bool:
            told = self._asked("/monitoring/drift/xgboost/history")
            return bool(told["samples"])

        wait_until(judged, seconds=_SECONDS, what="the first tick of drift")

    def _asked(self, path: str) -> Any:  # noqa: ANN401 - any JSON
        answer = httpx.get(f"{self.url}{path}", timeout=30, verify=NO_TLS)
        return answer.raise_for_status().json()

    def _at_our_ports(self, text: str) -> str:
        return re.sub(
            r"\b127\.0\.0\.1:(\d+)",
            lambda match: f"127.0.0.1:{self.ports.get(int(match[1]), match[1])}",
            text,
        )


@contextmanager
def operator_folder(path: Path, models: Path) -> Iterator[OperatorFolder]:
    """Copy the tree, start the service in it as the README says, and let it have some traffic."""
    shutil.copytree(ROOT, path, ignore=_LEFT_OUT)
    shutil.copytree(models, path / "models")
    (path / ".venv").symlink_to(ROOT / ".venv")
    os.utime(path / "requirements.lock", (0, 0))  # else make installs what is installed
    ports = {port: free_port() for port in _PORTS}
    folder = OperatorFolder(path, _environment(path, ports[8000]), ports)
    _write_files_that_pages_name(path)
    with folder.running(START, f"http://127.0.0.1:{ports[8000]}/docs"):
        folder.have_traffic()
        yield folder


def _without_names(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _environment(path: Path, port: int) -> dict[str, str]:
    home = path / "var" / "home"
    home.mkdir(parents=True)
    # What is refused shall fail, though a page need not say so to people who read the answer.
    (home / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CTR_", "MLFLOW_", "PYTHON"))
    }
    return {
        **inherited,
        **_SETTINGS,
        "HOME": str(home),
        "CTR_PORT": str(port),
        # As in a shell in which .venv is active.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "VIRTUAL_ENV": sys.prefix,
    }


def _write_files_that_pages_name(path: Path) -> None:
    table = _log()
    for name in ("february.parquet", "march.parquet"):
        pyarrow.parquet.write_table(table, path / name)
    for name in ("january.csv.gz", "clicks.csv.gz", "recent.csv.gz"):
        with pa.output_stream(path / name, compression="gzip") as stream:
            pyarrow.csv.write_csv(table, stream)
    for name, seed in (("good.npz", 1), ("month.npz", 2)):
        np.savez(path / name, allow_pickle=False, **arrays_of(traffic(2000, seed=seed)))
    (path / "token").write_text("a token")


def _log() -> pa.Table:
    log = simulate(10_000, seed=7).log
    return pa.table(
        {
            **{name: getattr(log, name).to_list() for name in _IDS},
            "hour": log.hour,
            "day_of_week": log.day_of_week,
            "click": log.click.astype(int),
            "timestamp": log.timestamp,
        }
    )
