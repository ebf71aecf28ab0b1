"""The monitoring endpoints of a running service, as REST clients use them."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from exposition import counted, total
from prometheus_server import wait_until
from service_process import ROOT, Service, running_service

from service.prediction.model_folder import load_models

FAST = {"CTR_SNAPSHOT_INTERVAL": "1", "CTR_HEALTH_WINDOW": "5", "CTR_INSTANCE": "test"}
SEED_FIELDS = {
    *("model_name", "total_requests", "successful_requests", "error_count", "avg_latency_ms"),
    *("p50_latency_ms", "p95_latency_ms", "p99_latency_ms", "min_latency_ms", "max_latency_ms"),
    *("requests_per_minute", "error_rate", "last_updated"),
}
BASELINE = {
    "model_name": "xgboost",
    "mean_prediction": 0.0234,
    "std_prediction": 0.0123,
    "mean_latency_ms": 45.6,
    "std_latency_ms": 12.3,
}

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Service]:
    state = tmp_path_factory.mktemp("state")
    with running_service(state, models_dir, env=FAST, workers=2) as running:
        yield running


def predict(client: httpx.Client, model: str, count: int) -> list[httpx.Response]:
    return [
        client.post(
            "/predict_ctr",
            params={"model_name": model},
            json={
                "user_id": f"u{i}",
                "ad_id": f"a{i % 5}",
                "device": "mobile",
                "placement": "header",
                "hour": i % 24,
                "day_of_week": i % 7,
            },
        )
        for i in range(count)
    ]


def wait_for_history(client: httpx.Client, *, seconds: float) -> None:
    """Wait until the history holds a tick this long after now."""
    until = time.time() + seconds
    wait_until(
        lambda: total(client, "ctr_snapshot_stored_timestamp_seconds", missing=0.0) > until,
        seconds=30,
        what=f"{seconds:g} more seconds of history",
    )


def test_statistics_of_one_model_have_every_field(service: Service) -> None:
    with service.client() as client:
        before = client.get("/monitoring/stats?model_name=xgboost").json()
        answers = predict(client, "xgboost", 30)
        after = client.get("/monitoring/stats?model_name=xgboost").json()

    assert after.keys() >= SEED_FIELDS
    assert after["total_requests"] == before["total_requests"] + 30
    assert after["successful_requests"] + after["error_count"] == after["total_requests"]
    latencies = [answer.json()["latency_ms"] for answer in answers]
    assert after["min_latency_ms"] <= min(latencies)
    assert after["max_latency_ms"] >= max(latencies)
    assert after["requests_per_minute"] >= 30


def test_statistics_of_all_models_are_those_of_each(service: Service) -> None:
    with service.client() as client:
        everything = client.get("/monitoring/stats").json()["models"]
        for model in ("xgboost", "logistic"):
            one = client.get("/monitoring/stats", params={"model_name": model}).json()
            for field in ("total_requests", "avg_latency_ms", "p99_latency_ms"):
                assert one[field] == everything[model][field]


def test_a_window_holds_what_was_served_in_it_and_says_where_it_begins(service: Service) -> None:
    with service.client() as client:
        predict(client, "logistic", 5)
        wait_for_history(client, seconds=3)
        predict(client, "logistic", 7)
        window = client.get("/monitoring/stats?model_name=logistic&window=2s").json()
        hour = client.get("/monitoring/stats?model_name=logistic&window=1h").json()

    assert window["total_requests"] == 7
    assert hour["total_requests"] >= 12
    assert window["window_start"] > hour["window_start"]
    assert window["min_latency_ms"] is None  # no exact minimum of a window


@pytest.mark.parametrize("window", ["0", "-5", "1y", "abc", "1.5h", "8d", "", "9" * 30])
def test_a_window_that_cannot_be_is_refused(service: Service, window: str) -> None:
    with service.client() as client:
        answer = client.get("/monitoring/stats", params={"window": window})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "window"


@pytest.mark.parametrize(
    "path",
    ["/monitoring/stats?model_name=no_such", "/monitoring/baseline/no_such"],
)
def test_an_unknown_model_is_not_found(service: Service, path: str) -> None:
    with service.client() as client:
        answer = client.get(path)

    assert answer.status_code == 404
    assert "xgboost" in answer.json()["detail"]


def test_health_covers_every_model_with_value_threshold_and_observations(
    service: Service,
) -> None:
    with service.client() as client:
        predict(client, "xgboost", 40)
        health = client.get("/monitoring/health").json()

    assert health["status"] in {"healthy", "warning"}  # earlier tests' traffic may be a drift
    assert health.keys() >= {"status", "timestamp", "models", "alerts"}
    assert health["models"].keys() == {"xgboost", "logistic"}
    checks = {check["name"]: check for check in health["models"]["xgboost"]["checks"]}
    assert checks["error_rate"]["status"] == "ok"
    assert (checks["error_rate"]["value"], checks["error_rate"]["threshold"]) == (0, 5)
    assert checks["avg_latency"]["threshold"] == 1000
    assert checks["avg_latency"]["observations"] >= 40


def test_a_model_without_traffic_says_insufficient_data(service: Service) -> None:
    with service.client() as client:
        wait_for_history(client, seconds=6)  # longer than the health window
        model = client.get("/monitoring/health").json()["models"]["logistic"]

    assert model["error_rate"] is None
    assert {check["status"] for check in model["checks"]} == {"insufficient_data"}


def test_the_trained_baseline_is_in_force_until_another_is_set(
    service: Service, models_dir: Path
) -> None:
    trained = load_models(models_dir)["logistic"].baseline
    with service.client() as client:
        body = client.get("/monitoring/baseline/logistic").json()
        gauge = total(client, "ctr_baseline_prediction_mean_ratio", model="logistic")

    assert (body["source"], body["revision"]) == ("training", 0)
    assert body["mean_prediction"] == trained.mean_prediction == gauge
    assert body["mean_latency_ms"] is None


def test_a_baseline_is_seen_by_every_worker_and_by_prometheus_at_once(service: Service) -> None:
    with service.client() as client:
        revision = client.get("/monitoring/baseline/xgboost").json()["revision"]
        answer = client.post("/monitoring/baseline", json=BASELINE | {"note": "after launch"})

    assert answer.status_code == 200
    assert answer.json()["revision"] > revision
    for _ in range(20):  # each on a connection of its own, and so on any worker
        with service.client() as client:
            seen = client.get("/monitoring/baseline/xgboost").json()
            mean = total(client, "ctr_baseline_prediction_mean_ratio", model="xgboost")
            latency = total(client, "ctr_baseline_latency_mean_seconds", model="xgboost")
        assert seen == answer.json()
        assert mean == 0.0234
        assert latency == 0.0456
    assert seen["created_by"] == "127.0.0.1"
    assert seen["note"] == "after launch"


NONSENSE: dict[str, dict[str, object]] = {
    "std of zero": {"std_prediction": 0},
    "negative std": {"std_prediction": -0.1},
    "mean of one": {"mean_prediction": 1.0},
    "mean below zero": {"mean_prediction": -0.01},
    "mean in percent": {"mean_prediction": 2.34},
    "mean not a number": {"mean_prediction": math.nan},
    "infinite latency": {"mean_latency_ms": math.inf},
    "latency as text": {"mean_latency_ms": "fast"},
    "latency of zero": {"mean_latency_ms": 0},
    "wider than possible": {"std_prediction": 0.4},
    "true as a number": {"std_latency_ms": True},
    "text as a number": {"mean_prediction": "0.02"},
    "next to nothing": {"mean_latency_ms": 1e-323},
    "absurdly many": {"observations": 10**40},
    "fraction of an observation": {"observations": 1.5},
    "unknown field": {"median": 0.02},
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_nonsense_baseline_is_refused_by_field_and_changes_nothing(
    service: Service, name: str
) -> None:
    (field,) = NONSENSE[name]
    with service.client() as client:
        before = client.get("/monitoring/baseline/xgboost").json()
        answer = client.post(
            "/monitoring/baseline",
            content=json.dumps(BASELINE | NONSENSE[name]),
            headers={"Content-Type": "application/json"},
        )
        after = client.get("/monitoring/baseline/xgboost").json()

    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert before == after


def test_a_baseline_for_an_unknown_model_is_not_found_and_makes_no_series(
    service: Service,
) -> None:
    with service.client() as client:
        before = counted(client).keys()
        answer = client.post("/monitoring/baseline", json=BASELINE | {"model_name": "no_such"})
        after = counted(client).keys()

    assert answer.status_code == 404
    assert before == after


def test_a_captured_baseline_is_what_was_observed(tmp_path: Path, models_dir: Path) -> None:
    with (
        running_service(tmp_path / "state", models_dir, env=FAST) as service,
        service.client() as client,
    ):
        too_few = client.post("/monitoring/baseline/xgboost/capture?window=1h")
        answers = predict(client, "xgboost", 150)
        stats = client.get("/monitoring/stats?model_name=xgboost").json()
        captured = client.post(
            "/monitoring/baseline/xgboost/capture?window=1h", json={"note": "first hour"}
        ).json()
        again = client.get("/monitoring/baseline/xgboost").json()

    assert too_few.status_code == 409
    assert "100" in too_few.json()["detail"]
    scores = [answer.json()["predicted_ctr"] for answer in answers]
    assert captured == again
    assert (captured["source"], captured["observations"]) == ("capture", 150)
    assert captured["note"] == "first hour"
    assert captured["mean_prediction"] == pytest.approx(math.fsum(scores) / 150, rel=1e-12)
    assert captured["mean_latency_ms"] == pytest.approx(stats["avg_latency_ms"], rel=1e-12)
    assert captured["std_latency_ms"] == pytest.approx(stats["std_latency_ms"], rel=1e-9)
    assert captured["has_distribution"] is True
    assert captured["window_start"] < captured["window_end"]


def test_a_baseline_survives_a_restart_and_ends_with_the_model_version(
    tmp_path: Path, models_dir: Path
) -> None:
    for _ in range(2):
        with (
            running_service(tmp_path / "state", models_dir, env=FAST) as service,
            service.client() as client,
        ):
            seen = client.get("/monitoring/baseline/xgboost").json()
            client.post("/monitoring/baseline", json=BASELINE)
    assert (seen["source"], seen["mean_prediction"]) == ("request", 0.0234)

    subprocess.run(
        [
            *(sys.executable, "scripts/train_models.py"),
            *("--rows", "20000", "--seed", "7", "--output", str(tmp_path / "models")),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with (
        running_service(tmp_path / "state", tmp_path / "models", env=FAST) as service,
        service.client() as client,
    ):
        assert client.get("/monitoring/baseline/xgboost").json()["source"] == "training"


@pytest.mark.parametrize(
    ("fault", "check"),
    [("error=0.2", "error_rate"), ("latency_ms=1100", "avg_latency")],
)
def test_a_rehearsed_fault_degrades_its_model_alone_and_clears(
    tmp_path: Path, models_dir: Path, fault: str, check: str
) -> None:
    # The fault is over 4 s after the start; the health window reaches back 5 s.
    env = FAST | {"CTR_FAULTS": f"xgboost:{fault},for_s=4", "CTR_MIN_REQUESTS": "2"}
    with (
        running_service(tmp_path / "state", models_dir, env=env) as service,
        service.client() as client,
    ):
        predict(client, "logistic", 5)
        predict(client, "xgboost", 3 if "latency" in fault else 25)
        sick = client.get("/monitoring/health").json()

        # Not the overall word: this traffic differs from the baseline, so drift may warn.
        def well_again() -> bool:
            predict(client, "xgboost", 10)
            checks = client.get("/monitoring/health").json()["models"]["xgboost"]["checks"]
            return bool({found["name"]: found["status"] for found in checks}[check] == "ok")

        wait_until(well_again, seconds=60, what="the fault ends and its window passes")
        refused = client.post("/monitoring/baseline/xgboost/capture?window=1h")

    assert sick["status"] == "degraded"
    assert sick["models"]["xgboost"]["status"] == "degraded"
    assert sick["models"]["logistic"]["status"] == "healthy"
    assert sick["alerts"][0].startswith(f"xgboost: {check.replace('_', ' ')}")
    assert sick["rehearsal"] == env["CTR_FAULTS"]
    assert refused.status_code == 409


def test_a_rehearsed_error_is_answered_as_a_problem_and_counted_by_type(
    tmp_path: Path, models_dir: Path
) -> None:
    env = {"CTR_FAULTS": "xgboost:error=0.25"}
    with (
        running_service(tmp_path / "state", models_dir, env=env) as service,
        service.client() as client,
    ):
        answers = predict(client, "xgboost", 40)
        by_type = total(client, "ctr_request_errors_total", error_type="injected_fault")
        predictions = total(client, "ctr_prediction_ratio_count")
        stats = client.get("/monitoring/stats?model_name=xgboost").json()

    failed = [answer for answer in answers if answer.status_code == 500]
    assert len(failed) == by_type == stats["error_count"] == 10
    assert stats["error_rate"] == 25
    assert predictions == 30
    assert failed[0].headers["content-type"] == "application/problem+json"


def test_the_smoke_test_finds_a_right_service_right(service: Service) -> None:
    command = [sys.executable, "scripts/test_monitoring.py", "--url", service.url]
    read = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, check=True)
    walk = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert walk.returncode == 0, walk.stdout
    assert "all as it should be" in walk.stdout
    told = json.loads(read.stdout)
    assert told["right"] is True
    assert [step["wrong"] for step in told["steps"]] == [None] * 6
    assert b"6. Set the baseline" in read.stderr


def test_the_smoke_test_fails_on_a_wrong_answer_and_without_a_service(
    tmp_path: Path, models_dir: Path
) -> None:
    env = {"CTR_FAULTS": "xgboost:error=0.5"}
    with running_service(tmp_path / "state", models_dir, env=env) as service:
        command = [sys.executable, "scripts/test_monitoring.py", "--url", service.url]
        wrong = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    gone = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (wrong.returncode, gone.returncode) == (1, 1)
    assert "WRONG" in wrong.stdout
