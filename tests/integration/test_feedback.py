"""Clicks on the predictions of a running service."""

import os
import signal
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from exposition import total
from postgres import PostgreSQL
from prometheus_server import wait_until
from service_process import Service, running_service

pytestmark = pytest.mark.integration

ROW = {"ad_id": "a1", "device": "mobile", "placement": "header", "hour": 3, "day_of_week": 3}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Service]:
    env = {"CTR_INSTANCE": "test"}
    state_dir = tmp_path_factory.mktemp("state")
    with running_service(state_dir, models_dir, env=env, workers=2) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as talking:
        yield talking


def predict(client: httpx.Client, count: int) -> list[dict[str, Any]]:
    rows = [{**ROW, "user_id": f"u{i}"} for i in range(count)]
    answer = client.post("/predict_ctr/batch", json={"requests": rows})
    predictions: list[dict[str, Any]] = answer.raise_for_status().json()["predictions"]
    return predictions


def clicks(predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"events": [{"prediction_id": p["prediction_id"], "clicked": True} for p in predictions]}


def counts(answer: httpx.Response) -> dict[str, int]:
    body: dict[str, int] = answer.raise_for_status().json()
    return {
        name: body[name] for name in ("accepted", "duplicates", "expired", "invalid", "unknown")
    }


NOTHING = {"accepted": 0, "duplicates": 0, "expired": 0, "invalid": 0, "unknown": 0}


def test_every_worker_counts_a_click_once(service: Service, client: httpx.Client) -> None:
    before = total(client, "ctr_clicks_total")
    summed = total(client, "ctr_clicked_prediction_ratio_sum")
    predictions = predict(client, 200)

    answers = []
    for _ in range(6):  # Each on a connection of its own: sooner or later another worker.
        with service.client() as fresh:
            answers.append(counts(fresh.post("/feedback", json=clicks(predictions))))

    assert answers == [NOTHING | {"accepted": 200}, *[NOTHING | {"duplicates": 200}] * 5]
    assert total(client, "ctr_clicks_total") - before == 200
    sent = sum(p["predicted_ctr"] for p in predictions)
    assert total(client, "ctr_clicked_prediction_ratio_sum") - summed == pytest.approx(sent)


def test_events_that_are_refused_are_named_and_counted(client: httpx.Client) -> None:
    good, early = predict(client, 2)
    before = {
        result: total(client, "ctr_feedback_events_total", result=result)
        for result in ("accepted", "invalid", "unknown")
    }
    long_ago = datetime.now(UTC) - timedelta(days=2)

    answer = client.post(
        "/feedback",
        json={
            "events": [
                {"prediction_id": "forged", "clicked": True},
                {"prediction_id": good["prediction_id"], "clicked": True},
                {
                    "prediction_id": early["prediction_id"],
                    "clicked": True,
                    "timestamp": long_ago.isoformat(),
                },
            ]
        },
    )

    assert counts(answer) == NOTHING | {"accepted": 1, "invalid": 1, "unknown": 1}
    assert answer.json()["refused"] == [
        {"index": 0, "reason": "unknown"},
        {"index": 2, "reason": "invalid"},
    ]
    after = {result: total(client, "ctr_feedback_events_total", result=result) for result in before}
    assert after == {result: count + 1 for result, count in before.items()}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": [{"prediction_id": "x"}]}, "events.0.clicked"),
        ({"events": [{"prediction_id": "x", "clicked": "yes"}]}, "events.0.clicked"),
        ({"events": [{"prediction_id": "x" * 513, "clicked": True}]}, "events.0.prediction_id"),
        (
            {"events": [{"prediction_id": "x", "clicked": True, "timestamp": "2026-11-23T10:00"}]},
            "events.0.timestamp",
        ),
        (
            {"events": [{"prediction_id": "x", "clicked": True, "timestamp": 1_780_000_000}]},
            "events.0.timestamp",
        ),
        (
            {"events": [{"prediction_id": "x", "clicked": True, "timestamp": "1780000000"}]},
            "events.0.timestamp",
        ),
        ({"events": [{"prediction_id": "x", "clicked": True}] * 1001}, "events"),
    ],
)
def test_a_body_that_is_none_is_refused_with_its_field(
    client: httpx.Client, body: dict[str, Any], field: str
) -> None:
    answer = client.post("/feedback", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_while_the_state_is_locked_nothing_is_acknowledged(
    service: Service, client: httpx.Client
) -> None:
    predictions = predict(client, 3)
    before = total(client, "ctr_clicks_total")

    with closing(sqlite3.connect(service.state_dir / "state.db")) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        refused = client.post("/feedback", json=clicks(predictions))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert predict(client, 1)
        assert total(client, "ctr_clicks_total") == before

    again = client.post("/feedback", json=clicks(predictions))
    assert counts(again) == NOTHING | {"accepted": 3}


def test_clicks_survive_kill_9_of_everything(tmp_path: Path, models_dir: Path) -> None:
    env = {"CTR_INSTANCE": "test"}
    with running_service(tmp_path, models_dir, env=env) as service, service.client() as client:
        predictions = predict(client, 100)
        assert counts(client.post("/feedback", json=clicks(predictions[:50])))["accepted"] == 50
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()

    with running_service(tmp_path, models_dir, env=env) as service, service.client() as client:
        answer = counts(client.post("/feedback", json=clicks(predictions)))

    assert answer == NOTHING | {"accepted": 50, "duplicates": 50}
    with closing(sqlite3.connect(tmp_path / "state.db")) as state:
        [(clicked, summed)] = state.execute(
            "SELECT sum(clicks), sum(prediction) FROM click_cohorts"
        ).fetchall()
    assert clicked == 100
    assert summed == pytest.approx(sum(p["predicted_ctr"] for p in predictions))


def test_any_replica_takes_the_click_of_any_other(
    tmp_path: Path, models_dir: Path, postgres: PostgreSQL
) -> None:
    env = {
        "CTR_STATE_URL": postgres.create_database(f"feedback_{uuid.uuid4().hex}"),
        "CTR_SIGNING_KEY": "s" * 40,
    }
    with (
        running_service(tmp_path / "a", models_dir, env=env | {"CTR_INSTANCE": "a"}) as one,
        running_service(tmp_path / "b", models_dir, env=env | {"CTR_INSTANCE": "b"}) as two,
        one.client() as first,
        two.client() as second,
    ):
        predictions = predict(first, 40)

        assert counts(second.post("/feedback", json=clicks(predictions)))["accepted"] == 40
        assert counts(first.post("/feedback", json=clicks(predictions)))["duplicates"] == 40


def test_a_click_after_the_attribution_window_is_refused(tmp_path: Path, models_dir: Path) -> None:
    env = {"CTR_INSTANCE": "test", "CTR_ATTRIBUTION_WINDOW": "1"}
    with running_service(tmp_path, models_dir, env=env) as service, service.client() as client:
        predictions = predict(client, 2)
        over = time.time() + 1.1
        wait_until(lambda: time.time() > over, seconds=5, what="the window's end")

        answer = counts(client.post("/feedback", json=clicks(predictions)))

    assert answer == NOTHING | {"expired": 2}
