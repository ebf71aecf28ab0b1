"""A day that is over gets its page in MLflow."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from service_process import ROOT

from bridge.points import points_of
from bridge.report import ReportError, draw_in_own_process
from bridge.runs import RunNaming
from bridge.windows import Slot
from service.monitoring.tracking import Entry, EntryKind
from service.state.store import open_state

pytestmark = pytest.mark.integration


def test_the_page_of_a_day_is_drawn_sent_and_cleared_away(tmp_path: Path) -> None:
    naming = RunNaming(
        source="instance:test", window_seconds=300, experiment="none", service_version="1"
    )
    slot = Slot(number=20_000 * 288 + 100, seconds=300)
    run = naming.of_day("xgboost", "v1", slot)
    numbers = {"p50_latency_ms": 1.0, "p95_latency_ms": 3.0, "requests_per_minute": 5.0}
    points = points_of(numbers, model_name="xgboost", slot=slot)
    with open_state(tmp_path / "state.db") as state:
        state.outbox("instance:test").freeze(
            [run],
            [
                Entry(run_key=run.key, kind=EntryKind.WINDOW, step=slot.number, points=points),
                Entry(run_key=run.key, kind=EntryKind.REPORT, step=slot.number),
            ],
            at=0.0,
        )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {
        **os.environ,
        "CTR_STATE_DIR": str(tmp_path),
        "CTR_MODELS_DIR": str(tmp_path / "models"),
        "CTR_INSTANCE": "test",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "TMPDIR": str(scratch),
    }

    command = [sys.executable, "-m", "bridge", "send", "--json"]
    told = json.loads(subprocess.check_output(command, cwd=ROOT, env=env))
    assert told["problem"] is None
    assert told["points"] > 0
    assert told["files"] > 0

    client = MlflowClient(env["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("ctr_prediction_production")
    assert experiment is not None
    [found] = client.search_runs([experiment.experiment_id])
    page = client.download_artifacts(found.info.run_id, "report/report.html", str(tmp_path))
    assert "xgboost v1 on 2024-10-04" in Path(page).read_text()
    assert not list(scratch.glob("report-*"))


def test_a_page_that_cannot_be_drawn_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("CTR_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)

    with pytest.raises(ReportError, match=r"nobody\|1.* cannot be drawn: there is no such model"):
        draw_in_own_process("nobody|1")

    assert not list(scratch.iterdir())
