"""The real service, started as a user starts it."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: each would read all certificates of the system, for 17 ms."""


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[str]
    state_dir: Path
    log_file: Path

    def log(self) -> str:
        """What it has said on its standard error, in this life and those before."""
        return self.log_file.read_text()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS)


@contextmanager
def running_service(
    state_dir: Path,
    models_dir: Path,
    *,
    env: Mapping[str, str] | None = None,
    workers: int = 1,
    cwd: Path = ROOT,
    port: int = 0,
) -> Iterator[Service]:
    """Start the service as a user would and stop it as Ctrl-C would; without a bridge."""
    command = [
        *(sys.executable, str(ROOT / "scripts" / "run_api.py")),
        *("--port", str(port), "--workers", str(workers)),
        *("--state-dir", str(state_dir), "--models-dir", str(models_dir)),
    ]
    log_file = state_dir.with_name(f"{state_dir.name}.log")
    with log_file.open("a") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "CTR_BRIDGE_ENABLED": "false", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        banner = process.stdout.readline()
        assert " at http://" in banner, banner
        service = Service(banner.split()[-1], process, state_dir, log_file)
        # The socket listens already; the answer comes when the models are loaded.
        with service.client() as client:
            assert client.get("/readyz").status_code == 200
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        sys.stderr.write(log_file.read_text())  # where a failed test shows it


def children(pid: int) -> list[int]:
    """Workers of the launcher; multiprocessing's resource tracker is none of them."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"spawn_main" in command:
            found.append(int(child))
    return found
