"""Models and an experiment of the test's own."""

import shutil
from pathlib import Path

import pytest
from releasing_service import EXPERIMENT


@pytest.fixture
def models(tmp_path: Path, models_dir: Path) -> Path:
    """Models of the test's own, to be replaced and damaged."""
    return shutil.copytree(models_dir, tmp_path / "models")


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    file = tmp_path / "experiment.toml"
    file.write_text(EXPERIMENT)
    return file
