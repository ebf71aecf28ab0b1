"""A real Prometheus that scrapes the service."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

STARTED_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    client: httpx.Client

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Evaluate an expression; at present where no time is given, in Unix seconds."""
        parameters = {"query": expression} | ({} if at is None else {"time": str(at)})
        answer = self.client.get("/api/v1/query", params=parameters)
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def number(self, expression: str, at: float | None = None) -> float:
        """Evaluate an expression that has one value."""
        (series,) = self.query(expression, at)
        return float(series["value"][1])


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll for something that another process does and announces to nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)


@contextmanager
def scraping_prometheus(binary: str, folder: Path, targets: list[str]) -> Iterator[Prometheus]:
    """Start Prometheus with an interval of one second."""
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: ctr, static_configs: [{{targets: {targets}}}]}}\n"
    )
    with running_prometheus(binary, config) as prometheus:
        yield prometheus


@contextmanager
def running_prometheus(binary: str, config: Path) -> Iterator[Prometheus]:
    """Start Prometheus; its data go beside its configuration."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
            prometheus = Prometheus(client)
            wait_until(
                lambda: _ready(client), seconds=STARTED_WITHIN_SECONDS, what="Prometheus starts"
            )
            yield prometheus
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
