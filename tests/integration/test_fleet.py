"""Three replicas behind one Prometheus, their state in PostgreSQL: any of them answers for all."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from exposition import total
from mlflow.tracking import MlflowClient
from ports import free_port
from postgres import PostgreSQL
from prometheus_server import Prometheus, scraping_prometheus, wait_until
from service_process import ROOT, Service, running_service

pytestmark = pytest.mark.integration


@dataclass
class Fleet:
    """The replicas, and what they answered."""

    services: list[Service]
    prometheus: Prometheus
    stop_prometheus: Callable[[], None]
    start_prometheus: Callable[[], None]
    start_replica: Callable[[str], Service]
    env: Mapping[str, str]
    answered: int = 0

    def predict(self, replica: int, count: int) -> None:
        request = {
            "user_id": "u1",
            "ad_id": "a1",
            "device": "mobile",
            "placement": "header",
            "hour": 12,
            "day_of_week": 1,
        }
        with self.services[replica].client() as client:
            for _ in range(count):
                answer = client.post("/predict_ctr?model_name=xgboost", json=request)
                assert answer.status_code == 200
                self.answered += 1

    def get(self, path: str, replica: int = 0) -> httpx.Response:
        with self.services[replica].client() as client:
            return client.get(path)

    def requests(self, query: str = "", replica: int = 0) -> int | None:
        answer = self.get(f"/monitoring/stats?model_name=xgboost{query}", replica)
        return answer.json()["total_requests"] if answer.status_code == 200 else None

    def arrive(self) -> None:
        wait_until(
            lambda: self.requests() == self.answered,
            seconds=60,
            what=f"the fleet's answer holds all {self.answered} requests",
        )


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory,
    models_dir: Path,
    postgres: PostgreSQL,
    tool: Callable[[str, str], str],
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    binary, port = tool("prometheus", "prometheus"), free_port()
    env = {
        "CTR_STATE_URL": postgres.create_database("fleet"),
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_SCRAPE_INTERVAL": "1",
        "CTR_MONITORING_SOURCE": "prometheus",
        "CTR_PROMETHEUS_URL": f"http://127.0.0.1:{port}",
    }
    with ExitStack() as replicas, ExitStack() as servers:

        def start_replica(name: str) -> Service:
            return replicas.enter_context(
                running_service(
                    folder / name, models_dir, env={**env, "CTR_INSTANCE": name}, workers=2
                )
            )

        services = [start_replica(f"replica{i}") for i in range(3)]

        def start_prometheus() -> None:
            targets = [service.url.removeprefix("http://") for service in services]
            found.prometheus = servers.enter_context(
                scraping_prometheus(binary, folder, targets, port=port)
            )

        found = Fleet(
            services=services,
            prometheus=None,  # type: ignore[arg-type]  # set at once
            stop_prometheus=servers.close,
            start_prometheus=start_prometheus,
            start_replica=start_replica,
            env=env,
        )
        start_prometheus()
        wait_until(
            lambda: found.get("/monitoring/health").json().get("replicas_seen") == 3,
            seconds=60,
            what="all replicas are seen",
        )
        yield found


def stable(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what moves while nothing happens."""
    moving = {"window_end", "last_updated", "staleness_seconds", "timestamp", "window_start"}
    return {name: value for name, value in answer.items() if name not in moving}


def test_any_replica_gives_the_same_answer_for_the_fleet(fleet: Fleet) -> None:
    for replica, count in enumerate((20, 30, 40)):
        fleet.predict(replica, count)
    fleet.arrive()

    answers = [
        stable(fleet.get("/monitoring/stats?model_name=xgboost", replica).json())
        for replica in (0, 1, 2, 0, 1, 2)
    ]

    assert all(answer == answers[0] for answer in answers)
    assert (answers[0]["scope"], answers[0]["replicas_seen"]) == ("fleet", 3)


def test_the_fleet_is_the_sum_of_what_its_instances_say_of_themselves(fleet: Fleet) -> None:
    fleet.predict(1, 10)
    fleet.arrive()
    whole = fleet.get("/monitoring/stats?model_name=xgboost").json()
    parts = [
        fleet.get("/monitoring/stats?model_name=xgboost&scope=instance", replica).json()
        for replica in range(3)
    ]

    assert whole["total_requests"] == sum(part["total_requests"] for part in parts)
    assert {part["scope"] for part in parts} == {"instance"}
    assert whole["avg_latency_ms"] == pytest.approx(
        sum(part["avg_latency_ms"] * part["total_requests"] for part in parts)
        / whole["total_requests"],
        rel=1e-12,
    )
    assert whole["min_latency_ms"] == min(part["min_latency_ms"] for part in parts)
    assert whole["max_latency_ms"] == max(part["max_latency_ms"] for part in parts)


def test_a_quantile_of_the_fleet_is_that_of_prometheus(fleet: Fleet) -> None:
    fleet.predict(2, 15)
    fleet.arrive()
    promql = (
        "1000 * histogram_quantile(0.95, sum by (le) "
        '(ctr_request_duration_seconds_bucket{model="xgboost"}))'
    )

    wait_until(
        lambda: (
            fleet.prometheus.number('sum(ctr_requests_total{model="xgboost",outcome="success"})')
            == fleet.answered
        ),
        seconds=30,
        what="Prometheus has scraped all",
    )
    rest = fleet.get("/monitoring/stats?model_name=xgboost").json()["p95_latency_ms"]
    assert rest == pytest.approx(fleet.prometheus.number(promql), rel=1e-12)


@pytest.mark.parametrize(
    "path", ["/monitoring/health", "/monitoring/drift/xgboost", "/monitoring/stats"]
)
def test_every_answer_says_whose_numbers_it_gives(fleet: Fleet, path: str) -> None:
    body = fleet.get(path).json()
    body = body.get("models", {}).get("xgboost", body) if path.endswith("stats") else body

    assert (body["scope"], body["replicas_seen"]) == ("fleet", 3)
    assert 0 <= body["staleness_seconds"] < 30


def test_a_replica_that_is_killed_and_replaced_loses_nothing_that_was_scraped(
    fleet: Fleet,
) -> None:
    fleet.predict(2, 25)
    fleet.arrive()
    killed = fleet.services[2]
    for pid in worker_pids(killed):
        os.kill(pid, signal.SIGKILL)
    killed.process.kill()
    killed.process.wait()

    fleet.services[2] = fleet.start_replica("replacement")
    fleet.prometheus.scrape([s.url.removeprefix("http://") for s in fleet.services])
    fleet.predict(2, 12)
    fleet.predict(0, 5)
    fleet.arrive()

    window = fleet.requests("&window=10m")
    assert window is not None
    assert window <= fleet.answered
    wait_until(
        lambda: fleet.get("/monitoring/health").json()["replicas_seen"] == 3,
        seconds=30,
        what="the replacement is counted and the dead one is not",
    )


def test_without_prometheus_the_fleet_is_unavailable_and_the_instance_answers(
    fleet: Fleet,
) -> None:
    before = fleet.answered
    fleet.stop_prometheus()
    wait_until(
        lambda: fleet.get("/monitoring/health").status_code == 503,
        seconds=30,
        what="the fleet's answer is too old",
    )
    refused = fleet.get("/monitoring/health")
    own = fleet.get("/monitoring/health?scope=instance")
    fleet.predict(0, 7)
    fleet.predict(1, 8)

    assert "Prometheus" in refused.json()["detail"]
    assert refused.headers["Retry-After"]
    assert own.status_code == 200
    assert own.json()["scope"] == "instance"

    fleet.start_prometheus()
    fleet.arrive()
    assert fleet.answered == before + 15


def test_drift_of_the_fleet_is_shown_by_every_replica(fleet: Fleet) -> None:
    def thresholds() -> list[float]:
        found = []
        for service in fleet.services:
            with service.client() as client:
                found.append(total(client, "ctr_drift_log_evidence_threshold", missing=0.0))
        return found

    wait_until(
        lambda: all(value == pytest.approx(16.99, abs=0.01) for value in thresholds()),
        seconds=60,
        what="every replica shows the fleet's drift",
    )
    refused = fleet.get("/monitoring/drift/xgboost?scope=instance")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "scope"


def test_the_history_of_the_fleet_is_in_mlflow_without_a_hole(
    fleet: Fleet, tmp_path: Path, models_dir: Path
) -> None:
    # Instances died and Prometheus was away meanwhile: what it kept was made up for.
    database = tmp_path / "mlflow.db"
    env = {
        **os.environ,
        **fleet.env,
        "CTR_INSTANCE": "bridge",
        "CTR_STATE_DIR": str(tmp_path),
        "CTR_MODELS_DIR": str(models_dir),
        "CTR_BRIDGE_WINDOW": "10",
        "MLFLOW_TRACKING_URI": f"sqlite:///{database}",
    }
    fleet.predict(0, 3)
    fleet.arrive()

    def recorded() -> float:
        command = [sys.executable, "-m", "bridge", "send"]
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
        client = MlflowClient(f"sqlite:///{database}")
        experiment = client.get_experiment_by_name("ctr_prediction_production")
        assert experiment is not None
        runs = client.search_runs(
            [experiment.experiment_id],
            "tags.model_name = 'xgboost' and tags.source = 'fleet' "
            "and tags.`ctr.kind` = 'monitoring'",
        )
        return sum(
            point.value
            for run in runs
            for point in client.get_metric_history(run.info.run_id, "requests_in_window")
        )

    # The very first snapshot of the fleet holds what was counted before anybody looked.
    before_the_first = fleet.requests("&window=1h")
    wait_until(
        lambda: recorded() == before_the_first, seconds=90, what="MLflow has the fleet's requests"
    )
    assert before_the_first == fleet.answered


def worker_pids(service: Service) -> list[int]:
    tasks = Path(f"/proc/{service.process.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
