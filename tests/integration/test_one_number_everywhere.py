"""One moment's numbers by REST, by PromQL, by the dashboards' own queries, and in MLflow."""

import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dashboard_verifier as verifier
import pytest
from dashboard_verifier import Choice
from mlflow.tracking import MlflowClient
from prometheus_server import Prometheus, scraping_prometheus, wait_until
from service_process import Service, running_service

MODELS = ("xgboost", "logistic")
REQUESTS = {"xgboost": 60, "logistic": 45}
OVERVIEW = list(verifier.targets("overview.json", verifier.load()["overview.json"]))

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Places:
    """Where people ask, once all has arrived everywhere and nothing happens any more."""

    service: Service
    prometheus: Prometheus
    mlflow: MlflowClient

    def rest(self, model: str) -> dict[str, Any]:
        with self.service.client() as client:
            found: dict[str, Any] = client.get(f"/monitoring/stats?model_name={model}").json()
            return found

    def promql(self, expression: str) -> float:
        return self.prometheus.number(expression)

    def dashboard(self, model: str, start: str, *parts: str) -> float:
        """Ask the overview's only query that begins so and has these parts, over all time."""
        [expression] = {
            target.expression
            for target in OVERVIEW
            if target.expression.startswith(start)
            and all(part in target.expression for part in parts)
            and "baseline" not in target.expression
            and "click" not in target.expression
        }
        chosen = {"job": "ctr", "instance": ".+", "model": model}
        choice = Choice(start=0, end=600, values=chosen, rate_interval="10m")
        return self.promql(choice(expression))

    def windows(self, model: str, name: str) -> Mapping[int, float]:
        """What MLflow has of a metric, by step."""
        experiment = self.mlflow.get_experiment_by_name("ctr_prediction_production")
        if experiment is None:
            return {}
        wanted = f"tags.model_name = '{model}' and tags.`ctr.kind` = 'monitoring'"
        return {
            point.step: point.value
            for run in self.mlflow.search_runs([experiment.experiment_id], wanted)
            for point in self.mlflow.get_metric_history(run.info.run_id, name)
        }

    def mean_over_windows(self, model: str, name: str, weight: str) -> float:
        weights = self.windows(model, weight)
        values = self.windows(model, name)
        return math.fsum(value * weights[step] for step, value in values.items()) / sum(
            weights[step] for step in values
        )


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path, tool: Callable[[str, str], str]
) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("places")
    database = folder / "mlflow.db"
    env = {
        "CTR_BRIDGE_ENABLED": "true",
        "CTR_BRIDGE_WINDOW": "5",
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_FAULTS": "logistic:error=0.3",
        "MLFLOW_TRACKING_URI": f"sqlite:///{database}",
    }
    binary = tool("prometheus", "prometheus")
    with running_service(folder / "state", models_dir, env=env, workers=2) as service:
        target = service.url.removeprefix("http://")
        with scraping_prometheus(binary, folder, [target]) as prometheus:
            # A scrape of zeros comes first, so that an interval over all is exact.
            wait_until(
                lambda: len(prometheus.query("ctr_requests_total")) > 0,
                seconds=60,
                what="the first scrape",
            )
            wait_until(lambda: connected(database), seconds=90, what="the bridge is connected")
            send(service)
            found = Places(service, prometheus, MlflowClient(f"sqlite:///{database}"))
            wait_until(lambda: arrived(found), seconds=90, what="all requests are everywhere")
            yield found


def connected(database: Path) -> bool:
    if not database.exists():
        return False
    with closing(sqlite3.connect(database)) as connection:
        try:
            names = connection.execute("SELECT name FROM experiments").fetchall()
        except sqlite3.OperationalError:
            return False
    return ("ctr_prediction_production",) in names


def send(service: Service) -> None:
    with service.client() as client:
        for model, count in REQUESTS.items():
            for i in range(count):
                client.post(
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


def arrived(places: Places) -> bool:
    return all(
        sum(places.windows(model, "requests_in_window").values()) == count
        and places.promql(f'sum(ctr_requests_total{{model="{model}"}})') == count
        for model, count in REQUESTS.items()
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_number_of_requests(places: Places, model: str) -> None:
    errors = f'sum(ctr_requests_total{{model="{model}",outcome="error"}})'
    rest = places.rest(model)

    assert rest["total_requests"] == REQUESTS[model]
    assert max(places.windows(model, "total_requests").values()) == REQUESTS[model]
    assert (
        rest["error_count"]
        == places.promql(errors)
        == sum(places.windows(model, "errors_in_window").values())
    )
    assert rest["total_predictions"] == sum(places.windows(model, "predictions_in_window").values())


@pytest.mark.parametrize("model", MODELS)
def test_the_error_rate(places: Places, model: str) -> None:
    percent = places.rest(model)["error_rate"]
    dashboard = places.dashboard(model, "sum by (model)", 'outcome="error"')

    assert 100 * dashboard == pytest.approx(percent, rel=1e-12)
    assert places.mean_over_windows(model, "error_rate", "requests_in_window") == pytest.approx(
        percent, rel=1e-12
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_mean_latency(places: Places, model: str) -> None:
    milliseconds = places.rest(model)["avg_latency_ms"]
    dashboard = places.dashboard(model, "sum by (model)", "ctr_request_duration_seconds_sum{")

    assert 1000 * dashboard == pytest.approx(milliseconds, rel=1e-12)
    assert places.mean_over_windows(model, "avg_latency_ms", "requests_in_window") == pytest.approx(
        milliseconds, rel=1e-12
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_mean_prediction(places: Places, model: str) -> None:
    mean = places.rest(model)["mean_prediction"]
    dashboard = places.dashboard(model, "sum by (model)", "ctr_prediction_ratio_sum{")

    assert dashboard == pytest.approx(mean, rel=1e-12)
    assert places.mean_over_windows(
        model, "mean_prediction", "predictions_in_window"
    ) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_a_quantile_of_latency(places: Places, model: str, quantile: float) -> None:
    milliseconds = places.rest(model)[f"p{quantile * 100:.0f}_latency_ms"]
    promql = (
        f"histogram_quantile({quantile}, sum by (le) "
        f'(ctr_request_duration_seconds_bucket{{model="{model}"}}))'
    )
    dashboard = places.dashboard(model, f"histogram_quantile({quantile},")

    assert 1000 * places.promql(promql) == pytest.approx(milliseconds, rel=1e-12)
    # The interval's factor cancels out of a quantile but for rounding.
    assert 1000 * dashboard == pytest.approx(milliseconds, rel=1e-9)
