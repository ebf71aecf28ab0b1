"""Drift of a running service, as REST clients and Prometheus see it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from exposition import total
from prometheus_server import wait_until
from service_process import running_service

FAST = {"CTR_SNAPSHOT_INTERVAL": "5", "CTR_INSTANCE": "test"}
TICK_SECONDS = 15

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[httpx.Client]:
    state = tmp_path_factory.mktemp("state")
    with (
        running_service(state, models_dir, env=FAST, workers=2) as running,
        running.client() as talking,
    ):
        yield talking


def predict(client: httpx.Client, model: str, count: int) -> None:
    row = {"device": "mobile", "placement": "header", "day_of_week": 3}
    rows = [{**row, "user_id": f"u{i}", "ad_id": f"a{i % 5}", "hour": i % 24} for i in range(count)]
    answer = client.post(
        "/predict_ctr/batch", params={"model_name": model}, json={"requests": rows}
    )
    answer.raise_for_status()


def test_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    assert client.get("/monitoring/drift/nobody").status_code == 404


def test_too_few_predictions_decide_nothing(client: httpx.Client) -> None:
    answer = client.get("/monitoring/drift/logistic").json()

    assert answer["status"] == "insufficient_data"
    assert answer["drift_detected"] is False
    assert answer["drifts"] == []


def test_a_gross_shift_is_seen_by_rest_and_by_prometheus(client: httpx.Client) -> None:
    predict(client, "xgboost", 500)
    seen = client.get("/monitoring/stats", params={"model_name": "xgboost"}).json()
    client.post(
        "/monitoring/baseline",
        json={
            "model_name": "xgboost",
            "mean_prediction": 2.5 * seen["mean_prediction"],
            "std_prediction": max(seen["std_prediction"], 1e-4),
            "mean_latency_ms": max(seen["avg_latency_ms"], 1.0),
            "std_latency_ms": max(10 * seen["avg_latency_ms"], 10.0),
        },
    ).raise_for_status()

    def drifted() -> bool:
        predict(client, "xgboost", 200)
        return bool(client.get("/monitoring/drift/xgboost").json()["drift_detected"])

    wait_until(drifted, seconds=4 * TICK_SECONDS, what="drift is detected")
    answer = client.get("/monitoring/drift/xgboost").json()

    assert answer["status"] == "drift"
    assert answer["commissioning"] is True
    assert answer["observations"] >= 100
    [shift] = [drift for drift in answer["drifts"] if drift["type"] == "mean_shift"]
    assert shift["severity"] == "high"
    assert shift["z_score"] > 3
    assert shift["log_evidence"] >= shift["log_evidence_threshold"]
    assert shift["effect"] == pytest.approx(1 / 2.5 - 1, abs=0.05)
    assert shift["current_mean"] == pytest.approx(answer["current_stats"]["mean_prediction"])

    def active() -> bool:
        return total(client, "ctr_drift_active", missing=0.0, type="mean_shift") == 1

    wait_until(active, seconds=2 * TICK_SECONDS, what="Prometheus sees it")
    assert total(client, "ctr_drift_log_evidence_threshold") == pytest.approx(16.77, abs=0.01)

    health = client.get("/monitoring/health").json()
    assert health["models"]["xgboost"]["status"] == "warning"
    assert health["models"]["logistic"]["status"] == "healthy"
    assert any("mean shift" in alert for alert in health["alerts"])
