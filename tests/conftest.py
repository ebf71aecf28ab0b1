"""What the tests share: the real service as a process, and models to serve."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
REAL_LOGS = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[str]
    state_dir: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30)


@contextmanager
def running_service(
    state_dir: Path, models_dir: Path, *, env: Mapping[str, str] | None = None, workers: int = 1
) -> Iterator[Service]:
    """Start the service as a user would and stop it as Ctrl-C would."""
    command = [
        *(sys.executable, "scripts/run_api.py"),
        *("--port", "0", "--workers", str(workers)),
        *("--state-dir", str(state_dir), "--models-dir", str(models_dir)),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        banner = process.stdout.readline()
        assert " at http://" in banner, banner
        service = Service(banner.split()[-1], process, state_dir)
        # The socket listens already; the answer comes when the models are loaded.
        with service.client() as client:
            assert client.get("/readyz").status_code == 200
        yield service
    finally:
        process.send_signal(2)
        process.communicate(timeout=30)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models trained on a small simulated log."""
    folder = tmp_path_factory.mktemp("trained") / "models"
    subprocess.run(
        [
            *(sys.executable, "scripts/train_models.py"),
            *("--rows", "20000", "--output", str(folder)),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Service]:
    """One service for the tests of a module."""
    with running_service(tmp_path_factory.mktemp("state"), models_dir) as running:
        yield running


@pytest.fixture(scope="session")
def tool() -> Callable[[str, str], str]:
    """Find a program of a Debian package; without it the test is skipped, in CI it fails."""

    def find(name: str, package: str) -> str:
        path = shutil.which(name)
        if path is None:
            reason = f"{name} is missing: sudo apt-get install {package}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find
