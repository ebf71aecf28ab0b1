"""What keeps the service from starting is one line that says what to do."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_server import wait_until
from service_process import ROOT, running_service

pytestmark = pytest.mark.integration


def start(*flags: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/run_api.py", "--port", "0", *flags],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("flags", "env", "status", "said"),
    [
        (["--models-dir", "/nowhere"], {}, 1, "holds no model; run scripts/train_models.py"),
        ([], {"CTR_PROT": "1"}, 2, "CTR_PROT is not a setting"),
        ([], {"CTR_FAULTS": "no_such:error=1"}, 2, "there is no model 'no_such'"),
        ([], {"CTR_FAULTS": "xgboost:error=1", "CTR_HOST": "0.0.0.0"}, 2, "not on 0.0.0.0"),  # noqa: S104
        (["--state-dir", "/dev/null/x"], {}, 1, "set CTR_STATE_DIR"),
        (["--host", "203.0.113.1"], {}, 1, "set CTR_HOST"),
        (["--experiment-file", "/nowhere.toml"], {}, 1, "/nowhere.toml: No such file"),
        ([], {"CTR_STATE_URL": "mysql://u:pw@h/d"}, 1, "not in mysql"),
    ],
)
def test_it_says_in_one_line_why_it_cannot_start(
    tmp_path: Path,
    models_dir: Path,
    *,
    flags: list[str],
    env: dict[str, str],
    status: int,
    said: str,
) -> None:
    ended = start(
        *("--models-dir", str(models_dir), "--state-dir", str(tmp_path / "state"), *flags), env=env
    )

    assert ended.returncode == status
    assert ended.stderr.startswith("python scripts/run_api.py: error: ")
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_bridge_that_the_service_starts_ends_with_one_line_too(tmp_path: Path) -> None:
    bridge = subprocess.Popen(
        [sys.executable, "-m", "bridge", "run", "--end-with-stdin"],
        cwd=ROOT,
        env={**os.environ, "CTR_STATE_URL": f"sqlite:///{tmp_path}/nowhere/state.db"},
        stdin=subprocess.PIPE,  # Open, as long as the service runs.
        stderr=subprocess.PIPE,
        text=True,
    )
    assert bridge.stderr is not None
    said = bridge.stderr.read().splitlines()
    bridge.communicate()

    assert bridge.returncode == 1
    assert [line.split(": ")[:2] for line in said] == [["python -m bridge run", "error"]]


def test_a_folder_may_have_any_name(tmp_path: Path, models_dir: Path) -> None:
    state = tmp_path / "a state?b%20#c"
    with running_service(state, models_dir) as service, service.client() as client:
        assert client.get("/monitoring/health").status_code == 200

    assert (state / "state.db").exists()


def test_started_from_another_folder_it_writes_its_history_there(
    tmp_path: Path, models_dir: Path
) -> None:
    env = {"CTR_BRIDGE_ENABLED": "true"}
    with (
        running_service(tmp_path / "var", models_dir, env=env, cwd=tmp_path) as service,
        service.client() as client,
    ):
        wait_until(
            lambda: client.get("/monitoring/mlflow").json()["bridge"] is not None,
            seconds=60,
            what="the bridge says how it is",
        )
    assert (tmp_path / "mlflow.db").exists()
