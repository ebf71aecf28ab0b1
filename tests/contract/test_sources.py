"""One suite over both sources: what a host knows of itself, and what Prometheus knows of it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import free_port
from prometheus_server import scraping_prometheus, wait_until
from service_process import running_service
from sklearn.metrics import log_loss

REQUESTS = 150

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Asked:
    """A service that answers for both scopes, and the one that is asked for."""

    client: httpx.Client
    scope: str
    scores: list[float]

    def get(self, path: str, **query: str | int) -> httpx.Response:
        return self.client.get(path, params={"scope": self.scope, **query})

    def stats(self, **query: str | int) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/monitoring/stats", model_name="xgboost", **query).json()
        return found


@pytest.fixture(scope="module")
def answering(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path, tool: Callable[[str, str], str]
) -> Iterator[tuple[httpx.Client, list[float]]]:
    binary, port = tool("prometheus", "prometheus"), free_port()
    folder = tmp_path_factory.mktemp("sources")
    env = {
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_SCRAPE_INTERVAL": "1",
        "CTR_ATTRIBUTION_WINDOW": "10",
        "CTR_MONITORING_SOURCE": "prometheus",
        "CTR_PROMETHEUS_URL": f"http://127.0.0.1:{port}",
    }
    with (
        running_service(folder / "state", models_dir, env=env, workers=2) as service,
        scraping_prometheus(binary, folder, [service.url.removeprefix("http://")], port=port),
        service.client() as client,
    ):
        wait_until(
            lambda: client.get("/monitoring/stats?scope=fleet").status_code == 200,
            seconds=60,
            what="the fleet is known",
        )
        scores = [predict(client, i) for i in range(REQUESTS)]
        wait_until(
            lambda: total(client) == REQUESTS, seconds=60, what="the fleet knows all requests"
        )
        yield client, scores


def predict(client: httpx.Client, number: int) -> float:
    answer = client.post(
        "/predict_ctr?model_name=xgboost",
        json={
            "user_id": f"u{number}",
            "ad_id": f"a{number % 5}",
            "device": "mobile",
            "placement": "header",
            "hour": number % 24,
            "day_of_week": number % 7,
        },
    ).json()
    if is_clicked(number):
        event = {"prediction_id": answer["prediction_id"], "clicked": True}
        client.post("/feedback", json={"events": [event]})
    score: float = answer["predicted_ctr"]
    return score


def is_clicked(number: int) -> bool:
    return number % 4 == 0


def total(client: httpx.Client) -> int:
    answer = client.get("/monitoring/stats?scope=fleet&model_name=xgboost")
    found: int = answer.json()["total_requests"]
    return found


@pytest.fixture(params=["instance", "fleet"])
def asked(request: pytest.FixtureRequest, answering: tuple[httpx.Client, list[float]]) -> Asked:
    client, scores = answering
    return Asked(client, request.param, scores)


def test_an_answer_says_whose_it_is(asked: Asked) -> None:
    stats = asked.stats()

    assert (stats["scope"], stats["replicas_seen"]) == (asked.scope, 1)


def test_counts_and_moments_are_those_of_the_answers(asked: Asked) -> None:
    stats, scores = asked.stats(), asked.scores
    mean = math.fsum(scores) / len(scores)

    assert (stats["total_requests"], stats["error_count"]) == (REQUESTS, 0)
    assert stats["total_predictions"] == REQUESTS
    assert stats["mean_prediction"] == pytest.approx(mean, rel=1e-12)
    assert stats["std_prediction"] == pytest.approx(
        math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / len(scores)), rel=1e-9
    )


def test_both_sources_give_the_same_statistics(
    answering: tuple[httpx.Client, list[float]],
) -> None:
    moving = {"scope", "staleness_seconds", "window_start", "window_end", "last_updated"}
    moving |= {"requests_per_minute", "model_name"}
    client, scores = answering
    answers = [Asked(client, scope, scores).stats() for scope in ("instance", "fleet")]

    own, everywhere = ({k: v for k, v in a.items() if k not in moving} for a in answers)
    assert own == pytest.approx(everywhere, rel=1e-12)


def test_a_window_holds_what_happened_in_it_with_its_true_ends(asked: Asked) -> None:
    hour = asked.stats(window="1h")

    assert hour["total_requests"] == REQUESTS
    assert hour["window_start"] < hour["window_end"]
    assert hour["min_latency_ms"] is None


def test_health_covers_every_model(asked: Asked) -> None:
    health = asked.get("/monitoring/health").json()

    assert health["models"].keys() == {"xgboost", "logistic"}
    checks = {check["name"]: check for check in health["models"]["xgboost"]["checks"]}
    assert checks["error_rate"]["status"] == "ok"
    assert checks["avg_latency"]["observations"] == REQUESTS


def test_quality_is_that_of_the_answers_once_their_clicks_have_all_come(asked: Asked) -> None:
    def quality() -> dict[str, Any]:
        found: dict[str, Any] = asked.get("/monitoring/quality/xgboost").json()
        return found

    wait_until(
        lambda: quality()["predictions"] == REQUESTS, seconds=120, what="all cohorts are mature"
    )
    found = quality()

    clicked = [is_clicked(number) for number in range(REQUESTS)]
    assert (found["scope"], found["replicas_seen"]) == (asked.scope, 1)
    assert (found["status"], found["clicks"]) == ("ok", sum(clicked))
    assert found["maturing_predictions"] == 0
    assert found["log_loss"] == pytest.approx(log_loss(clicked, asked.scores), rel=1e-9)
    assert found["calibration_ratio"] == pytest.approx(
        math.fsum(asked.scores) / sum(clicked), rel=1e-9
    )


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/monitoring/stats", {"model_name": "nobody"}, 404),
        ("/monitoring/stats", {"window": "9y"}, 422),
        ("/monitoring/quality/nobody", {}, 404),
        ("/monitoring/quality/xgboost", {"window": "never"}, 422),
    ],
)
def test_what_cannot_be_answered_is_refused(
    asked: Asked, path: str, query: dict[str, str], status: int
) -> None:
    assert asked.get(path, **query).status_code == status


def test_a_baseline_is_captured_from_the_source(asked: Asked) -> None:
    captured = asked.client.post(
        "/monitoring/baseline/xgboost/capture", params={"scope": asked.scope, "window": "1h"}
    ).json()

    assert captured["observations"] == REQUESTS
    assert captured["mean_prediction"] == pytest.approx(
        math.fsum(asked.scores) / REQUESTS, rel=1e-12
    )


def test_steps_over_time_add_up_to_the_whole_and_begin_at_the_clocks_multiples(
    asked: Asked,
) -> None:
    whole = asked.stats(window="1h")
    told = asked.get("/monitoring/history", model_name="xgboost", window="1h", points=60).json()
    points = told["models"]["xgboost"]["points"]
    known = [point for point in points if point["total_requests"] is not None]

    assert told["scope"] == asked.scope
    assert told["step_seconds"] == 60
    assert len(points) <= 60
    assert sum(point["total_requests"] for point in known) == whole["total_requests"]
    assert sum(point["total_predictions"] for point in known) == whole["total_predictions"]
    weighted = sum(
        point["mean_prediction"] * point["total_predictions"]
        for point in known
        if point["total_predictions"]
    )
    assert weighted / REQUESTS == pytest.approx(whole["mean_prediction"], rel=1e-9)
    starts = [datetime.fromisoformat(point["window_start"]) for point in known]
    ends = [datetime.fromisoformat(point["window_end"]) for point in known]
    assert starts[1:] == ends[:-1]
    assert all(point["window_start"].endswith(":00Z") for point in points if point not in known)


def test_a_history_over_time_refuses_what_it_cannot_give(asked: Asked) -> None:
    assert asked.get("/monitoring/history", model_name="nobody").status_code == 404
    assert asked.get("/monitoring/history", window="9y").status_code == 422
    assert asked.get("/monitoring/history", points=501).status_code == 422
    assert asked.get("/monitoring/history").json()["models"].keys() == {"xgboost", "logistic"}


def test_the_distributions_that_are_compared_are_those_of_the_answers(
    answering: tuple[httpx.Client, list[float]],
) -> None:
    client, scores = answering
    drift = client.get("/monitoring/drift/xgboost").json()
    baseline = client.get("/monitoring/baseline/xgboost").json()

    for bucket in drift["distribution"]:
        inside = [s for s in scores if bucket["lower"] < s <= bucket["upper"]]
        assert bucket["observations"] == len(inside)
    assert sum(bucket["observations"] for bucket in drift["distribution"]) == REQUESTS
    assert [bucket["upper"] for bucket in baseline["distribution"]] == [
        bucket["upper"] for bucket in drift["distribution"]
    ]
    assert (
        sum(bucket["observations"] for bucket in baseline["distribution"])
        == baseline["observations"]
    )
    hours = baseline["hours"]
    assert [hour["hour"] for hour in hours] == list(range(24))
    total = math.fsum(
        hour["mean_prediction"] * hour["observations"] for hour in hours if hour["observations"]
    )
    assert all((hour["mean_prediction"] is None) == (hour["observations"] == 0) for hour in hours)
    assert total / baseline["observations"] == pytest.approx(baseline["mean_prediction"])
