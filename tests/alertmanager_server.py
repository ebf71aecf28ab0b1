"""A real Alertmanager, and a webhook that keeps what it is told."""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from ports import free_port
from prometheus_server import STARTED_WITHIN_SECONDS, wait_until

from deploy.alerting.yaml_text import yaml_text


@dataclass(frozen=True)
class Webhook:
    """What was posted so far."""

    url: str
    messages: list[Mapping[str, Any]] = field(default_factory=list)

    def alerts(self, status: str) -> Sequence[Mapping[str, str]]:
        """Labels of every alert that was reported with this status, in order."""
        return [
            alert["labels"]
            for message in list(self.messages)
            for alert in message["alerts"]
            if alert["status"] == status
        ]


@contextmanager
def catching_webhook() -> Iterator[Webhook]:
    """Listen on loopback."""
    messages: list[Mapping[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Webhook(f"http://127.0.0.1:{server.server_port}/", messages)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running_alertmanager(
    binary: str, folder: Path, config: Mapping[str, Any]
) -> Iterator[httpx.Client]:
    """Start it alone, without a cluster."""
    path = folder / "alertmanager.yml"
    path.write_text(yaml_text(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        binary,
        f"--config.file={path}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    process = subprocess.Popen(command)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
            wait_until(
                lambda: _ready(client), seconds=STARTED_WITHIN_SECONDS, what="Alertmanager starts"
            )
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
