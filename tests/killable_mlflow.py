"""A real MLflow server on the loopback, which can be killed and come back."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from resource import RLIMIT_FSIZE, prlimit

import httpx
from mlflow.tracking import MlflowClient
from ports import free_port
from prometheus_server import wait_until
from service_process import NO_TLS

MLFLOW = str(Path(sys.executable).with_name("mlflow"))
STARTED_WITHIN_SECONDS = 90.0
ON_A_DIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A disk that is full for it must not spoil what others import.
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass
class MlflowServer:
    """One server with its database; every process of it is in one group."""

    folder: Path
    store_uri: str
    options: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None
    _again: tuple[list[str], dict[str, str]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.url)

    def begin_to_start(self) -> None:
        """Start it without waiting; what is started again is what `mlflow server` started."""
        command, environment = self._again or (self._first_command(), os.environ | ON_A_DIET)
        with (self.folder / f"server-{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self) -> None:
        self.begin_to_start()
        wait_until(self.answers, seconds=STARTED_WITHIN_SECONDS, what="MLflow starts")
        self._again = self._again or self._serving_process()

    def kill(self) -> None:
        """Kill every process of it, as a power cut would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it accept and never answer."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let no file of it grow beyond a few bytes."""
        assert self._process is not None
        pids = [self._process.pid, *_children(self._process.pid)]
        before = [prlimit(pid, RLIMIT_FSIZE) for pid in pids]
        for pid, (_, hard) in zip(pids, before, strict=True):
            prlimit(pid, RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            for pid, limits in zip(pids, before, strict=True):
                prlimit(pid, RLIMIT_FSIZE, limits)

    def answers(self) -> bool:
        assert self._process is None or self._process.poll() is None, self._log()
        try:
            return httpx.get(f"{self.url}/health", timeout=5, verify=NO_TLS).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self.kill()

    def _first_command(self) -> list[str]:
        return [
            *(MLFLOW, "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", "1", "--backend-store-uri", self.store_uri),
            *("--artifacts-destination", str(self.folder / "artifacts"), *self.options),
        ]

    def _serving_process(self) -> tuple[list[str], dict[str, str]]:
        """Find the process behind the command, which starts in half the time."""
        assert self._process is not None
        [child] = _children(self._process.pid)
        process = Path(f"/proc/{child}")
        command = process.joinpath("cmdline").read_text().rstrip("\0").split("\0")
        variables = process.joinpath("environ").read_text().rstrip("\0").split("\0")
        return command, dict(variable.split("=", 1) for variable in variables)

    def _log(self) -> str:
        return (self.folder / f"server-{self.port}.log").read_text()[-3000:]


@contextmanager
def running_mlflow(folder: Path, store_uri: str, *options: str) -> Iterator[MlflowServer]:
    """Start a server with one worker, and kill it in the end."""
    server = MlflowServer(folder, store_uri, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _children(pid: int) -> Sequence[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run_mlflow(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command of MLflow's own, such as ``gc``."""
    done = subprocess.run(
        [MLFLOW, *arguments],
        env={**os.environ, **ON_A_DIET, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
