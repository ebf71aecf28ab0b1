"""Drift of a running service, as REST clients and Prometheus see it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from exposition import total
from prometheus_server import wait_until
from service_process import running_service

from service.__main__ import main

FAST = {"CTR_SNAPSHOT_INTERVAL": "5", "CTR_INSTANCE": "test"}
TICK_SECONDS = 15

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def client(state_dir: Path, models_dir: Path) -> Iterator[httpx.Client]:
    with (
        running_service(state_dir, models_dir, env=FAST, workers=2) as running,
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
    assert client.get("/monitoring/drift/nobody/history").status_code == 404


@pytest.mark.parametrize("query", ["window=9y", "points=0", "points=many"])
def test_a_history_that_cannot_be_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/monitoring/drift/xgboost/history?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


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

    told = client.get("/monitoring/drift/xgboost/history?window=1h").json()
    last = told["samples"][-1]
    assert last["log_evidence"] == answer["log_evidence"]
    assert last["effects"] == pytest.approx(answer["effects"], abs=0.05)
    assert "mean_shift" in last["drifts"]
    assert len(client.get("/monitoring/drift/xgboost/history?points=1").json()["samples"]) == 1

    def active() -> bool:
        return total(client, "ctr_drift_active", missing=0.0, type="mean_shift") == 1

    wait_until(active, seconds=2 * TICK_SECONDS, what="Prometheus sees it")
    assert total(client, "ctr_drift_log_evidence_threshold") == pytest.approx(16.99, abs=0.01)

    health = client.get("/monitoring/health").json()
    assert health["models"]["xgboost"]["status"] == "warning"
    assert health["models"]["logistic"]["status"] == "healthy"
    assert any("mean shift" in alert for alert in health["alerts"])


def test_the_services_own_history_can_be_replayed_with_other_settings(
    client: httpx.Client,
    state_dir: Path,
    models_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in FAST.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CTR_STATE_DIR", str(state_dir))
    monkeypatch.setenv("CTR_MODELS_DIR", str(models_dir))
    began = datetime.now(UTC) - timedelta(minutes=10)
    flags = ["replay", "--since", began.isoformat(), "--model", "xgboost", "--json"]

    assert main(flags) == 0
    as_it_was = json.loads(capsys.readouterr().out)
    assert main([*flags, "--materiality", "0.95"]) == 0
    lenient = json.loads(capsys.readouterr().out)
    assert main([*flags, "--until", "2020-01-01"]) == 1
    nothing = capsys.readouterr().err

    seen = client.get("/monitoring/drift/xgboost").json()
    alarms = [found for found in as_it_was["alarms"] if found["type"] == "mean_shift"]
    assert began.timestamp() < alarms[0]["time"]
    assert alarms[0]["time"] <= datetime.fromisoformat(seen["window_end"]).timestamp()
    assert lenient["ticks"] == as_it_was["ticks"] > 0
    assert not [found for found in lenient["alarms"] if found["type"] == "mean_shift"]
    assert "no ticks of xgboost" in nothing
