"""Clicks through POST /feedback against predictions, as REST clients and Prometheus see it.

The predictions are of the last hour: an alarm takes the agreement of a quarter of an hour. What is
written for them is what the service would have stored; the ids are signed with its key.
"""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from exposition import total
from prometheus_server import wait_until
from service_process import running_service

from service.monitoring import catalogue
from service.monitoring.calibration.detector import CalibrationDetector
from service.monitoring.snapshot import Series, Snapshot
from service.prediction.prediction_id import PredictionId, origin_of
from service.prediction.signing_keys import signing_key
from service.state.store import open_state

pytestmark = pytest.mark.integration

SECRET = "s" * 40
ENV = {"CTR_INSTANCE": "test", "CTR_SIGNING_KEY": SECRET, "CTR_SNAPSHOT_INTERVAL": "5"}
SCOPE = "instance:test"
MINUTES, PER_MINUTE, SCORE = 40, 300, 0.1
RATIOS = {"xgboost": 0.5, "logistic": 1.0}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[httpx.Client]:
    """A service that has counted clicks for 40 minutes: half of the promised ones, and all."""
    state_dir = tmp_path_factory.mktemp("state")
    start = int(time.time()) // 60 * 60 - 50 * 60
    generous = ENV | {"CTR_ATTRIBUTION_WINDOW": "7200"}
    with running_service(state_dir, models_dir, env=generous) as service, service.client() as first:
        versions = {model: version_of(first, model) for model in RATIOS}
        for model, ratio in RATIOS.items():
            send_clicks(first, model, versions[model], start, ratio)
    remember(state_dir, versions, start)
    with (
        running_service(
            state_dir, models_dir, env=ENV | {"CTR_ATTRIBUTION_WINDOW": "60"}, workers=2
        ) as service,
        service.client() as talking,
    ):
        wait_until(
            lambda: all(drift(talking, model)["calibration"]["clicks"] for model in RATIOS),
            seconds=90,
            what="the minute in which the clicks are held against their predictions",
        )
        yield talking


def version_of(client: httpx.Client, model: str) -> str:
    row = {"user_id": "u", "ad_id": "a", "device": "mobile", "placement": "header"}
    answer = client.post(
        "/predict_ctr", params={"model_name": model}, json=row | {"hour": 3, "day_of_week": 3}
    )
    version: str = answer.raise_for_status().json()["model_version"]
    return version


def send_clicks(client: httpx.Client, model: str, version: str, start: int, ratio: float) -> None:
    rng = np.random.default_rng(1)
    key = signing_key(SECRET, Path("unused"))
    ids = [
        PredictionId(
            model=model,
            version=version,
            score=SCORE,
            milliseconds=1000 * (start + 60 * minute + 30),
            nonce=secrets.token_bytes(6),
            origin=origin_of("test"),
            experiment=0,
            cell=None,
        ).signed(key)
        for minute in range(MINUTES)
        for _ in range(rng.binomial(PER_MINUTE, ratio * SCORE))
    ]
    for begin in range(0, len(ids), 1000):
        events = [{"prediction_id": one, "clicked": True} for one in ids[begin : begin + 1000]]
        answer = client.post("/feedback", json={"events": events}).raise_for_status().json()
        assert answer["accepted"] == len(events)


def remember(state_dir: Path, versions: dict[str, str], start: int) -> None:
    with open_state(state_dir / "state.db") as state:
        history = state.history(SCOPE)
        for minute in range(MINUTES + 1):
            at = start + 60 * minute
            counters: dict[Series, float] = {}
            for model, version in versions.items():
                counters |= predicted(model, version, PER_MINUTE * minute)
            history.append(
                at, Snapshot(at=at + 0.01, epoch=float(start), counters=counters, gauges={})
            )
        for model, version in versions.items():
            begun = CalibrationDetector(zone=0.1, key=version).start(end=start)
            state.values.save(SCOPE, f"calibration:{model}", begun.to_json().encode())


def predicted(model: str, version: str, count: float) -> dict[Series, float]:
    labels = (("model", model), ("version", version))
    bucket = f"{catalogue.PREDICTION.name}_bucket"
    found = {
        Series(bucket, (("le", str(bound)), *labels)): count if bound >= SCORE else 0.0
        for bound in catalogue.PREDICTION.bounds
    }
    found[Series(bucket, (("le", "+Inf"), *labels))] = count
    found[Series(f"{catalogue.PREDICTION.name}_sum", labels)] = SCORE * count
    found[Series(catalogue.PREDICTION_SQUARED.name, labels)] = SCORE**2 * count
    return found


def drift(client: httpx.Client, model: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"/monitoring/drift/{model}").raise_for_status().json()
    return answer


def test_missing_clicks_are_a_calibration_shift(client: httpx.Client) -> None:
    answer = drift(client, "xgboost")

    assert answer["drift_detected"] is True
    assert answer["status"] == "drift"
    [shift] = answer["drifts"]
    assert (shift["type"], shift["form"], shift["severity"]) == (
        "calibration_shift",
        "level",
        "high",
    )
    assert shift["effect"] == pytest.approx(-0.5, abs=0.1)
    assert shift["calibration_ratio"] == pytest.approx(2.0, abs=0.4)
    assert shift["clicks"] / shift["predicted_clicks"] == pytest.approx(1 + shift["effect"])
    assert shift["log_evidence"] >= shift["log_evidence_threshold"]
    assert answer["calibration"]["status"] == "drift"


def test_honest_clicks_are_none(client: httpx.Client) -> None:
    answer = drift(client, "logistic")

    assert answer["drifts"] == []
    assert answer["drift_detected"] is False
    assert answer["calibration"]["status"] == "ok"
    assert answer["calibration"]["clicks"] >= 1000
    assert answer["calibration"]["log_evidence"] < answer["calibration"]["log_evidence_threshold"]


def test_health_warns_of_the_model_that_is_off(client: httpx.Client) -> None:
    health = client.get("/monitoring/health").json()

    checks = {
        model: {check["name"]: check["status"] for check in of["checks"]}
        for model, of in health["models"].items()
    }
    assert checks["xgboost"]["calibration"] == "warning"
    assert checks["logistic"]["calibration"] == "ok"
    assert checks["xgboost"]["drift"] != "warning"
    assert health["models"]["xgboost"]["status"] == health["status"] == "warning"
    assert any("fewer than predicted" in alert for alert in health["alerts"])


def test_prometheus_sees_it(client: httpx.Client) -> None:
    def active(model: str) -> float:
        return total(
            client, "ctr_drift_active", missing=-1.0, model=model, type="calibration_shift"
        )

    wait_until(
        lambda: (active("xgboost"), active("logistic")) == (1.0, 0.0),
        seconds=40,
        what="the gauges of the next tick",
    )
    evidence = total(client, "ctr_drift_log_evidence", model="xgboost", channel="calibration_level")
    assert evidence >= total(client, "ctr_drift_log_evidence_threshold")
