"""The A/B test of a running service: simulated users click, the service is killed in between."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from exposition import total
from ports import free_port
from postgres import PostgreSQL
from prometheus_server import scraping_prometheus, wait_until
from service_process import Service, running_service

pytestmark = pytest.mark.integration

TRUE_CTR = {"xgboost": 0.05, "logistic": 0.15}
ROW = {"ad_id": "a1", "device": "mobile", "placement": "header", "hour": 3, "day_of_week": 3}
MINUTE_AND_MORE = 90


def experiment_file(folder: Path) -> Path:
    file = folder / "experiment.toml"
    file.write_text(
        'name = "test"\nsalt = "s"\n[variants]\nxgboost = 0.5\nlogistic = 0.5\n', encoding="utf-8"
    )
    return file


@dataclass
class Users:
    """Who asks and clicks, and what came of it, kept by hand."""

    rng: random.Random = field(default_factory=lambda: random.Random(1))
    predictions: Counter[str] = field(default_factory=Counter)
    clicks: Counter[str] = field(default_factory=Counter)
    summed: Counter[str] = field(default_factory=Counter)

    def visit(
        self, client: httpx.Client, count: int, *, clicks_go_to: httpx.Client | None = None
    ) -> None:
        rows = [{**ROW, "user_id": f"u{self.rng.randrange(4000)}"} for _ in range(count)]
        answer = client.post("/predict_ctr/batch", json={"requests": rows}).raise_for_status()
        given = answer.json()["predictions"]
        clicked = [p for p in given if self.rng.random() < TRUE_CTR[p["model_name"]]]
        events = [{"prediction_id": p["prediction_id"], "clicked": True} for p in clicked]
        taken = (clicks_go_to or client).post("/feedback", json={"events": events})
        assert taken.json()["accepted"] == len(clicked)
        self.predictions.update(p["model_name"] for p in given)
        self.clicks.update(p["model_name"] for p in clicked)
        for p in given:
            self.summed[p["model_name"]] += p["predicted_ctr"]


def experiment(client: httpx.Client) -> dict[str, Any]:
    body: dict[str, Any] = client.get("/monitoring/experiment").raise_for_status().json()
    return body


def of_variants(body: dict[str, Any], field_name: str) -> dict[str, Any]:
    return {variant["model_name"]: variant[field_name] for variant in body["variants"]}


def kill_9(service: Service) -> None:
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()


def test_users_clicks_and_a_kill_are_told_as_they_were(tmp_path: Path, models_dir: Path) -> None:
    env = {
        "CTR_INSTANCE": "test",
        "CTR_EXPERIMENT_FILE": str(experiment_file(tmp_path)),
        "CTR_ATTRIBUTION_WINDOW": "10",
    }
    users = Users()
    with running_service(tmp_path, models_dir, env=env, workers=2) as service:
        with service.client() as client:
            assert experiment(client)["status"] == "insufficient_data"
            wait_until(
                lambda: experiment(client)["window_start"] is not None,
                seconds=MINUTE_AND_MORE,
                what="the first whole minute",
            )
            for _ in range(10):
                users.visit(client, 1000)
            # Nobody was assigned this one.
            override = {"model_name": "xgboost"}
            client.post("/predict_ctr", params=override, json={**ROW, "user_id": "u1"})
            early = experiment(client)
        kill_9(service)
    assert early["comparison"]["verdict"] == "undecided"
    assert early["comparison"]["interval"] is None

    with (
        running_service(tmp_path, models_dir, env=env, workers=2) as service,
        service.client() as client,
    ):
        for _ in range(10):
            users.visit(client, 1000)

        def complete() -> bool:
            body = experiment(client)
            counted: int = sum(of_variants(body, "predictions").values())
            assert counted <= users.predictions.total()
            return counted == users.predictions.total()

        wait_until(complete, seconds=2 * MINUTE_AND_MORE, what="clicks to be mature")
        body = experiment(client)
        name = next(iter(_experiments(client)))

        assert of_variants(body, "predictions") == users.predictions
        assert of_variants(body, "clicks") == users.clicks
        assert of_variants(body, "users_cells") == {"xgboost": 64, "logistic": 64}
        assert of_variants(body, "immature_predictions") == {"xgboost": 0, "logistic": 0}
        for variant in body["variants"]:
            model = variant["model_name"]
            rate = users.clicks[model] / users.predictions[model]
            assert variant["ctr"] == pytest.approx(rate)
            low, high = variant["ctr_interval"]
            assert low < TRUE_CTR[model] < high
            assert variant["error_rate"] == 0
            assert variant["avg_latency_ms"] > 0
            expected = users.summed[model] / users.clicks[model]
            assert variant["calibration_ratio"] == pytest.approx(expected, rel=1e-3)

        comparison = body["comparison"]
        assert (comparison["baseline"], comparison["challenger"]) == ("xgboost", "logistic")
        assert comparison["verdict"] == "better"
        low, high = comparison["interval"]
        assert low < 0.1 < high
        assert body["status"] == "decided"
        assert body["sample_ratio"]["mismatch"] is False
        assert body["summary"] == comparison["sentence"]

        def shown(metric: str, **labels: str) -> float:
            return total(
                client, f"ctr_experiment_{metric}", missing=-1.0, experiment=name, **labels
            )

        # The answer is as of the stored counts; gauges follow at the end of the same tick.
        wait_until(
            lambda: shown("difference_ratio") == pytest.approx(comparison["difference"]),
            seconds=30,
            what="the gauges",
        )
        assert shown("verdict", model="logistic", verdict="better") == 1
        assert shown("verdict", model="logistic", verdict="worse") == 0
        assert shown("click_through_ratio", model="xgboost") == pytest.approx(
            users.clicks["xgboost"] / users.predictions["xgboost"]
        )
        assert shown("sample_ratio_mismatch") == 0


def _experiments(client: httpx.Client) -> set[str]:
    lines = client.get("/metrics").text.splitlines()
    found = (line for line in lines if line.startswith("ctr_experiment_sample_ratio_mismatch{"))
    return {line.split('experiment="')[1].split('"')[0] for line in found}


def test_a_fleet_compares_the_users_of_all_replicas(
    tmp_path: Path, models_dir: Path, postgres: PostgreSQL, tool: Callable[[str, str], str]
) -> None:
    port = free_port()
    env = {
        "CTR_STATE_URL": postgres.create_database("experiment_fleet"),
        "CTR_EXPERIMENT_FILE": str(experiment_file(tmp_path)),
        "CTR_ATTRIBUTION_WINDOW": "10",
        "CTR_SIGNING_KEY": "s" * 40,
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_SCRAPE_INTERVAL": "1",
        "CTR_MONITORING_SOURCE": "prometheus",
        "CTR_PROMETHEUS_URL": f"http://127.0.0.1:{port}",
    }
    users = Users()
    with (
        running_service(tmp_path / "a", models_dir, env=env | {"CTR_INSTANCE": "a"}) as one,
        running_service(tmp_path / "b", models_dir, env=env | {"CTR_INSTANCE": "b"}) as two,
        scraping_prometheus(
            tool("prometheus", "prometheus"),
            tmp_path,
            [service.url.removeprefix("http://") for service in (one, two)],
            port=port,
        ),
        one.client() as first,
        two.client() as second,
    ):

        def began() -> bool:
            answer = first.get("/monitoring/experiment")
            return answer.status_code == 200 and answer.json()["window_start"] is not None

        wait_until(began, seconds=MINUTE_AND_MORE, what="the first whole minute")
        for _ in range(5):
            users.visit(first, 1000, clicks_go_to=second)
            users.visit(second, 1000, clicks_go_to=first)

        def complete() -> bool:
            counted: int = sum(of_variants(experiment(second), "predictions").values())
            return counted == users.predictions.total()

        wait_until(complete, seconds=2 * MINUTE_AND_MORE, what="clicks to be mature")
        answers = [experiment(client) for client in (first, second)]
        alone = first.get("/monitoring/experiment", params={"scope": "instance"})

    for body in answers:
        assert (body["scope"], body["replicas_seen"]) == ("fleet", 2)
        assert of_variants(body, "predictions") == users.predictions
        assert of_variants(body, "clicks") == users.clicks
    assert answers[0]["comparisons"] == answers[1]["comparisons"]
    assert alone.status_code == 422


def test_without_an_experiment_the_answer_says_so(tmp_path: Path, models_dir: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text('name = "none"\nsalt = "s"\n[variants]\nxgboost = 1\n', encoding="utf-8")
    env = {"CTR_EXPERIMENT_FILE": str(file)}

    with running_service(tmp_path, models_dir, env=env) as service, service.client() as client:
        body = experiment(client)
        refused = client.get("/monitoring/experiment", params={"scope": "fleet"})

    assert body["status"] == "no_experiment"
    assert body["comparison"] is None
    assert body["variants"] == []
    assert body["summary"] == "No experiment: one model gets all users."
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "scope"
