"""A history that is kept, and commands about it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kept_history import Kept, add_odd_runs, send_history

from bridge.__main__ import main
from bridge.keeping.database_copies import copy_sqlite


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    made = Kept(folder, f"sqlite:///{folder}/mlflow.db", folder / "var" / "state.db")
    made.state.parent.mkdir()
    send_history(made)
    add_odd_runs(made)
    return made


@pytest.fixture
def own(kept: Kept, tmp_path: Path) -> Kept:
    """A copy that the test may change."""
    folder = tmp_path / "own"
    folder.mkdir()
    copy_sqlite(kept.folder / "mlflow.db", folder / "mlflow.db")
    return Kept(folder, f"sqlite:///{folder}/mlflow.db", folder / "var" / "state.db")


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run a command about a store, from an empty folder."""

    def call(store: Kept, *arguments: object) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
        monkeypatch.setenv("CTR_STATE_DIR", str(store.state.parent))
        return main([str(argument) for argument in arguments])

    return call
