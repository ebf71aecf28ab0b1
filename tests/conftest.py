"""What the tests share: models to serve, a service that serves them, and other programs."""

import os
import shutil
import subprocess
import sys
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
