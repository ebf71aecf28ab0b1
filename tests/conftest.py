"""What the tests share: models to serve, a service that serves them, and other programs."""

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from compose_file import find_compose
from hypothesis import settings
from postgres import PostgreSQL, find_programs, running_postgres
from service_process import ROOT, Service, running_service

# How long an example takes says more about the machine than about the code.
settings.register_profile("whatever the machine does", deadline=None)
settings.load_profile("whatever the machine does")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that a test runs in its own process sets up that process' log."""
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    own = {name: logging.getLogger(name).level for name in ("service", "bridge", "deploy")}
    yield
    logging.captureWarnings(capture=False)
    for handler in root.handlers[:]:
        if handler not in handlers and type(handler).__module__ == "service.logs":
            root.removeHandler(handler)
    root.setLevel(level)
    for name, before in own.items():
        logging.getLogger(name).setLevel(before)
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models trained on a small simulated log, for all tests: who changes them copies them."""
    base = tmp_path_factory.getbasetemp()
    # Of pytest-xdist's processes the first trains, the others wait for it and take what it made.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, unfinished = shared / "models", base / "unfinished-models"
    with (shared / "models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            subprocess.run(
                [
                    *(sys.executable, "scripts/train_models.py"),
                    *("--rows", "20000", "--output", str(unfinished)),
                ],
                cwd=ROOT,
                check=True,
                capture_output=True,
            )
            unfinished.rename(folder)
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A real server; without its package the test is skipped, in CI it fails."""
    programs = find_programs()
    if programs is None:
        reason = "PostgreSQL is missing: sudo apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running_postgres(programs) as server:
        yield server


@pytest.fixture(scope="session")
def compose() -> Path:
    """Docker Compose 2; without it the test is skipped, in CI it fails."""
    program = find_compose()
    if program is None:
        reason = "Docker Compose 2 is missing: scripts/install_compose.sh"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program
