"""A real Prometheus that scrapes the service."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from ports import free_port

_T = TypeVar("_T")
STARTED_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    client: httpx.Client
    folder: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def scrape(self, targets: list[str]) -> None:
        """Scrape these from now on."""
        _name_targets(self.folder, targets)

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Evaluate an expression; at present where no time is given, in Unix seconds."""
        parameters = {"query": expression} | ({} if at is None else {"time": str(at)})
        answer = self.client.get("/api/v1/query", params=parameters)
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def query_range(
        self, expression: str, *, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """Evaluate an expression at every step of a period."""
        period = {"start": str(start), "end": str(end), "step": str(step)}
        answer = self.client.get("/api/v1/query_range", params={"query": expression, **period})
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def label_values(self, label: str, selector: str, *, start: float, end: float) -> list[str]:
        """Values of a label of the series that are selected."""
        parameters = {"match[]": selector, "start": str(start), "end": str(end)}
        answer = self.client.get(f"/api/v1/label/{label}/values", params=parameters)
        assert answer.status_code == 200, answer.text
        values: list[str] = answer.json()["data"]
        return values

    def number(self, expression: str, at: float | None = None) -> float:
        """Evaluate an expression that has one value."""
        (series,) = self.query(expression, at)
        return float(series["value"][1])


def wait_until(condition: Callable[[], _T | None], *, seconds: float, what: str) -> _T:
    """Poll for something that another process does and announces to nobody; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)
    return found


@contextmanager
def scraping_prometheus(
    binary: str, folder: Path, targets: list[str], *, port: int | None = None
) -> Iterator[Prometheus]:
    """Start Prometheus with an interval of one second; again in the same folder it goes on."""
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: ctr, file_sd_configs: [{{files: ['{folder / 'targets.json'}']}}]}}\n"
    )
    _name_targets(folder, targets)
    with running_prometheus(binary, config, port=port) as prometheus:
        yield prometheus


@contextmanager
def running_prometheus(
    binary: str, config: Path, *, port: int | None = None
) -> Iterator[Prometheus]:
    """Start Prometheus; its data go beside its configuration."""
    address = f"127.0.0.1:{port or free_port()}"
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
        process = subprocess.Popen(command)
        prometheus = Prometheus(client, config.parent, process)
        try:
            wait_until(
                lambda: _ready(client), seconds=STARTED_WITHIN_SECONDS, what="Prometheus starts"
            )
            yield prometheus
        finally:
            process.terminate()
            process.wait(timeout=30)


def _name_targets(folder: Path, targets: list[str]) -> None:
    new = folder / "targets.new"
    new.write_text(json.dumps([{"targets": targets}]))
    new.rename(folder / "targets.json")


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
