"""The bridge beside a running service: what was counted is found in MLflow by its own client."""

import json
import math
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from exposition import total
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from prometheus_server import wait_until
from service_process import ROOT, Service, running_service

WINDOW_SECONDS = 5
EXPERIMENT = "ctr_prediction_production"

pytestmark = pytest.mark.integration


def predict(client: httpx.Client, model: str, count: int) -> list[float]:
    scores = []
    for i in range(count):
        answer = client.post(
            "/predict_ctr",
            params={"model_name": model},
            json={
                "user_id": f"u{i}",
                "ad_id": f"a{i % 7}",
                "device": "mobile",
                "placement": "header",
                "hour": i % 24,
                "day_of_week": i % 7,
            },
        )
        if answer.status_code == 200:
            scores.append(answer.json()["predicted_ctr"])
    return scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history")


@pytest.fixture(scope="module")
def service(folder: Path, models_dir: Path) -> Iterator[Service]:
    env = {
        "CTR_BRIDGE_ENABLED": "true",
        "CTR_BRIDGE_WINDOW": str(WINDOW_SECONDS),
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_INSTANCE": "test",
        "CTR_FAULTS": "logistic:error=0.3",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    with running_service(folder / "state", models_dir, env=env, workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def mlflow_client(service: Service, folder: Path) -> MlflowClient:
    del service
    # A client would create the tables itself: not at the same time as the bridge.
    wait_until(lambda: has_experiment(folder), seconds=60, what="the bridge is connected")
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def runs_of(client: MlflowClient, model: str, kind: str) -> list[Run]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    wanted = f"tags.model_name = '{model}' and tags.`ctr.kind` = '{kind}'"
    return list(client.search_runs([experiment.experiment_id], wanted))


def recorded(client: MlflowClient, model: str, name: str, kind: str = "monitoring") -> list[float]:
    return [
        point.value
        for run in runs_of(client, model, kind)
        for point in client.get_metric_history(run.info.run_id, name)
    ]


@pytest.fixture(scope="module")
def scores(service: Service, mlflow_client: MlflowClient) -> dict[str, list[float]]:
    """Traffic, all of which has arrived in MLflow."""
    with service.client() as client:
        found = {model: predict(client, model, 60) for model in ("xgboost", "logistic")}

    def arrived() -> bool:
        return all(
            sum(recorded(mlflow_client, model, "requests_in_window")) == 60 for model in found
        )

    wait_until(arrived, seconds=60, what="the requests arrive in MLflow")
    return found


def has_experiment(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        try:
            names = connection.execute("SELECT name FROM experiments").fetchall()
        except sqlite3.OperationalError:
            return False
    return (EXPERIMENT,) in names


def test_every_request_is_in_exactly_one_window(
    scores: dict[str, list[float]], mlflow_client: MlflowClient
) -> None:
    assert sum(recorded(mlflow_client, "xgboost", "requests_in_window")) == 60
    assert sum(recorded(mlflow_client, "xgboost", "predictions_in_window")) == len(
        scores["xgboost"]
    )
    failed = 60 - len(scores["logistic"])
    assert failed > 0
    assert sum(recorded(mlflow_client, "logistic", "errors_in_window")) == failed


def test_the_mean_prediction_in_mlflow_is_that_of_the_answers(
    scores: dict[str, list[float]], mlflow_client: MlflowClient
) -> None:
    means = recorded(mlflow_client, "xgboost", "mean_prediction")
    weights = [n for n in recorded(mlflow_client, "xgboost", "predictions_in_window") if n]

    weighted = math.fsum(m * n for m, n in zip(means, weights, strict=True)) / sum(weights)
    assert weighted == pytest.approx(math.fsum(scores["xgboost"]) / 60, rel=1e-12)


@pytest.mark.parametrize("model", ["xgboost", "logistic"])
def test_mlflow_and_rest_give_one_number(
    service: Service,
    scores: dict[str, list[float]],
    mlflow_client: MlflowClient,
    model: str,
) -> None:
    del scores
    with service.client() as client:
        rest = client.get(f"/monitoring/stats?model_name={model}").json()
    [run] = runs_of(mlflow_client, model, "monitoring")

    def windows(name: str) -> dict[int, float]:
        points = mlflow_client.get_metric_history(run.info.run_id, name)
        return {point.step: point.value for point in points}

    requests, latency = windows("requests_in_window"), windows("avg_latency_ms")
    predictions, means = windows("predictions_in_window"), windows("mean_prediction")
    assert max(windows("total_requests").values()) == rest["total_requests"]
    assert sum(windows("errors_in_window").values()) == rest["error_count"]
    assert sum(predictions.values()) == rest["total_predictions"]
    assert math.fsum(value * requests[step] for step, value in latency.items()) == pytest.approx(
        rest["avg_latency_ms"] * rest["total_requests"], rel=1e-12
    )
    assert math.fsum(value * predictions[step] for step, value in means.items()) == pytest.approx(
        rest["mean_prediction"] * rest["total_predictions"], rel=1e-12
    )
    assert min(windows("min_latency_ms").values()) == pytest.approx(
        rest["min_latency_ms"], rel=1e-12
    )


@pytest.mark.parametrize(
    "name",
    [
        *("avg_latency_ms", "p50_latency_ms", "p95_latency_ms", "p99_latency_ms"),
        *("error_rate", "requests_per_minute", "total_requests"),
        *("min_latency_ms", "max_latency_ms", "mean_prediction", "health_status"),
    ],
)
def test_a_number_has_the_specified_name_and_a_common_one_on_one_axis(
    scores: dict[str, list[float]], mlflow_client: MlflowClient, name: str
) -> None:
    del scores
    [run] = runs_of(mlflow_client, "xgboost", "monitoring")

    own = mlflow_client.get_metric_history(run.info.run_id, f"xgboost_{name}")
    common = mlflow_client.get_metric_history(run.info.run_id, name)

    assert own
    assert [(p.step, p.timestamp, p.value) for p in own] == [
        (p.step, p.timestamp, p.value) for p in common
    ]
    for point in own:
        assert point.timestamp == (point.step + 1) * WINDOW_SECONDS * 1000


def test_the_specified_search_finds_the_sick_model_alone(
    service: Service, scores: dict[str, list[float]], mlflow_client: MlflowClient
) -> None:
    del scores
    experiment = mlflow_client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None

    def found(model: str) -> list[Run]:
        query = f"metrics.{model}_error_rate > 1.0"
        return list(mlflow_client.search_runs([experiment.experiment_id], query))

    with service.client() as client:
        # The search sees the latest window that had a request.
        def seen() -> bool:
            predict(client, "logistic", 20)
            return bool(found("logistic"))

        wait_until(seen, seconds=60, what="the search finds the errors")
    assert not found("xgboost")


def test_individual_predictions_are_a_sample_in_a_child_run(
    service: Service, scores: dict[str, list[float]], mlflow_client: MlflowClient
) -> None:
    del service

    def arrived() -> list[float]:
        return recorded(mlflow_client, "xgboost", "xgboost_prediction", kind="samples")

    wait_until(lambda: len(arrived()) >= 60, seconds=30, what="the sample arrives")
    [parent] = runs_of(mlflow_client, "xgboost", "monitoring")
    [child] = runs_of(mlflow_client, "xgboost", "samples")
    errors = recorded(mlflow_client, "logistic", "logistic_error", kind="samples")

    assert sorted(arrived()) == sorted(scores["xgboost"])
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert sum(errors) >= 60 - len(scores["logistic"])


def test_rest_links_to_the_runs_and_says_how_the_bridge_is(
    service: Service, scores: dict[str, list[float]], mlflow_client: MlflowClient
) -> None:
    del scores
    [run] = runs_of(mlflow_client, "xgboost", "monitoring")
    with service.client() as client:
        answer = client.get("/monitoring/mlflow?model_name=xgboost").json()
        lag = total(client, "ctr_bridge_lag_seconds")
        status_at = total(client, "ctr_bridge_status_timestamp_seconds")

    [linked] = answer["runs"]
    assert (linked["model_name"], linked["run_id"]) == ("xgboost", run.info.run_id)
    assert "workflowType=machine_learning" in answer["experiment_url"]
    assert run.info.run_id in answer["compare_url"]
    assert answer["bridge"]["problem"] is None
    assert answer["bridge"]["refused_entries"] == 0
    assert 0 <= lag < 60
    assert time.time() - status_at < 30


def test_a_trained_model_is_registered_and_the_production_run_links_to_it(
    scores: dict[str, list[float]], mlflow_client: MlflowClient, models_dir: Path, folder: Path
) -> None:
    del scores
    [metadata_file] = models_dir.glob("xgboost/versions/*/metadata.json")
    metadata = json.loads(metadata_file.read_text())

    def linked() -> bool:
        [run] = runs_of(mlflow_client, "xgboost", "monitoring")
        return "ctr.release_run_id" in run.data.tags

    wait_until(linked, seconds=60, what="the production run links to the release")
    [run] = runs_of(mlflow_client, "xgboost", "monitoring")
    release = mlflow_client.get_run(run.data.tags["ctr.release_run_id"])
    [version] = mlflow_client.search_model_versions("name = 'xgboost'")
    downloaded = mlflow_client.download_artifacts(
        release.info.run_id, "model/baseline.json", str(folder)
    )

    assert release.info.status == "FINISHED"
    assert release.data.tags["model_version"] == metadata["version"] == metadata_file.parent.name
    assert release.data.params["max_depth"] == str(metadata["parameters"]["max_depth"])
    assert release.data.metrics["validation/auc"] == metadata["validation_metrics"]["auc"]
    assert (version.run_id, version.tags["ctr.version"]) == (
        release.info.run_id,
        metadata["version"],
    )
    assert Path(downloaded).read_bytes() == (metadata_file.parent / "baseline.json").read_bytes()


def test_a_day_can_be_drawn_as_a_page(
    service: Service, scores: dict[str, list[float]], folder: Path, models_dir: Path
) -> None:
    del service, scores
    page = folder / "report.html"
    today = datetime.now(UTC).date().isoformat()
    env = {
        **os.environ,
        "CTR_STATE_DIR": str(folder / "state"),
        "CTR_MODELS_DIR": str(models_dir),
        "CTR_INSTANCE": "test",
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_BRIDGE_WINDOW": str(WINDOW_SECONDS),
    }
    command = [
        *(sys.executable, "-m", "bridge", "report", "--model", "xgboost", "--day"),
        *(today, "--output", str(page)),
    ]
    subprocess.run(command, cwd=ROOT, env=env, check=True)

    drawn = page.read_text()
    assert f"xgboost {today}" in drawn or f"on {today}" in drawn
    for heading in ("Latency", "Traffic", "Errors", "Predictions", "Drift"):
        assert f"<h2>{heading}" in drawn
    assert drawn.count("data:image/svg+xml") >= 4
    assert "<script" not in drawn
    assert "http://" not in drawn.replace("http://www.w3.org", "")


def test_the_workers_never_import_mlflow(service: Service) -> None:
    def children(pid: int) -> list[int]:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def command(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()

    launcher = service.process.pid
    serving = [launcher, *(pid for pid in children(launcher) if "bridge" not in command(pid))]
    bridges = [pid for pid in children(launcher) if "bridge" in command(pid)]
    mapped = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in [*serving, *bridges]}

    assert len(serving) >= 3
    assert len(bridges) == 1
    # pandas and pyarrow come with MLflow and map libraries of their own.
    assert not [pid for pid in serving if "/pandas/" in mapped[pid] or "/pyarrow/" in mapped[pid]]
    assert [pid for pid in bridges if "/pandas/" in mapped[pid]]


def test_importing_the_service_imports_no_mlflow() -> None:
    code = "import sys, service.app, service.launcher; print('mlflow' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"
