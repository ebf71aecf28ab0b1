"""What the bridge wrote, a plain ``mlflow ui`` in the folder shows."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from mlflow_server import running_mlflow_server

from bridge.mlflow_tracking import MlflowTracking
from bridge.tracking_uri import tracking_store
from service.monitoring.tracking import Point, RunKind, TrackedRun

pytestmark = pytest.mark.integration

EXPERIMENT = "ctr_prediction_production"
RUN = TrackedRun(
    key="xgboost|v1|none:xgboost|instance:here|2026-11-22",
    kind=RunKind.MONITORING,
    name="xgboost v1 2026-11-22",
    model_name="xgboost",
    model_version="v1",
    day="2026-11-22",
    start_ms=1_795_305_600_000,
)
PLAIN_CLIENT = """
import mlflow
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("ctr_prediction_production")
for wanted in "metrics.xgboost_error_rate > 1.0", "metrics.`day/max_error_rate` > 1.0":
    for run in client.search_runs([experiment.experiment_id], wanted):
        print(run.info.run_name, run.data.metrics["xgboost_error_rate"])
"""


@pytest.mark.parametrize("given", [None, "file://./mlruns"])
def test_a_plain_ui_and_a_plain_client_in_the_folder_see_the_runs(
    given: str | None, tmp_path: Path
) -> None:
    tracking = MlflowTracking(tracking_store(given, tmp_path), EXPERIMENT)
    tracking.connect()
    run_id = tracking.find_or_create(RUN, None)
    points = [
        Point(name, 2.5, 1_795_305_900_000, 5_984_352)
        for name in ("xgboost_error_rate", "day/max_error_rate")
    ]
    tracking.tell(run_id, points, {})

    client = subprocess.run(
        [sys.executable, "-c", PLAIN_CLIENT],
        cwd=tmp_path,
        env={"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert client.stdout == 2 * "xgboost v1 2026-11-22 2.5\n"

    with running_mlflow_server(None, tmp_path) as url:
        answer = httpx.post(
            f"{url}/api/2.0/mlflow/runs/search",
            json={"experiment_ids": [tracking.experiment_id]},
            timeout=20,
        )
    [run] = answer.json()["runs"]
    assert run["info"]["run_id"] == run_id
    assert [metric["value"] for metric in run["data"]["metrics"]] == [2.5, 2.5]
