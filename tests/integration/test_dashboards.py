"""Every query of every dashboard has data, from the real service in a real Prometheus."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dashboard_verifier as verifier
import httpx
import pytest
from dashboard_verifier import Choice, Target
from prometheus_server import Prometheus, scraping_prometheus, wait_until
from service_process import Service, running_service

from service.monitoring import catalogue

pytestmark = pytest.mark.integration

MODELS = ("logistic", "xgboost")
DASHBOARDS = verifier.load()
TARGETS = [
    target for name, content in DASHBOARDS.items() for target in verifier.targets(name, content)
]
WITHOUT_DATA = {
    catalogue.EXPERIMENT_CTR.name: "needs predictions whose attribution window is over",
    catalogue.EXPERIMENT_DIFFERENCE.name: "needs clicks on those",
    catalogue.EXPERIMENT_DIFFERENCE_LOWER.name: "needs clicks on those",
    catalogue.EXPERIMENT_DIFFERENCE_UPPER.name: "needs clicks on those",
    catalogue.EXPERIMENT_LOG_EVIDENCE.name: "needs clicks on those",
    catalogue.EXPERIMENT_MISMATCH_LOG_EVIDENCE.name: "needs those",
    catalogue.SHADOW_PREDICTIONS.name: "needs a shadow model",
    f"{catalogue.SHADOW_PREDICTION.name}_count": "needs a shadow model",
    catalogue.SHADOW_PREDICTION_SQUARED.name: "needs a shadow model",
    catalogue.SHADOW_ANSWERED.name: "needs a shadow model",
    catalogue.SHADOW_DIFFERENCE_SQUARED.name: "needs a shadow model",
    catalogue.BRIDGE_COMPLETENESS.name: "needs a day that is over",
    catalogue.BRIDGE_FAILURES.name: "needs a call that failed",
}
"""Metrics that a young and healthy service does not have: a panel of them says so."""


@dataclass(frozen=True)
class Watched:
    """A Prometheus that has seen a service under traffic."""

    prometheus: Prometheus
    start: float
    end: float

    def choice(self, dashboard: str, **values: str) -> Choice:
        """Everything chosen, where a dashboard allows that, except what is given."""
        variables = DASHBOARDS[dashboard]["templating"]["list"]
        chosen = {
            v["name"]: ".+" if v.get("includeAll") else MODELS[0]
            for v in variables
            if v["type"] == "query"
        }
        return Choice(start=self.start, end=self.end, values=chosen | values)


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path, tool: Callable[[str, str], str]
) -> Iterator[Watched]:
    binary = tool("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("dashboards")
    env = {
        "CTR_BRIDGE_ENABLED": "true",
        "CTR_BRIDGE_WINDOW": "5",
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_ATTRIBUTION_WINDOW": "5",
        "CTR_FAULTS": "xgboost:error=0.3;logistic:error=0.1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    with (
        running_service(folder / "state", models_dir, env=env) as service,
        scraping_prometheus(binary, folder, [service.url.removeprefix("http://")]) as prometheus,
    ):
        start = time.time()
        rng = random.Random(4)

        def has_features() -> bool:
            send_traffic(service, rng)
            return prometheus.query(catalogue.FEATURE_UNSEEN.name) != []

        # The baseline of training knows features and no latency, the one that is set next no
        # features; what was shown stays.
        wait_until(has_features, seconds=60, what="drift of features is in Prometheus")
        set_baselines(service)

        def has_everything() -> bool:
            send_traffic(service, rng)
            return prometheus_has(prometheus)

        wait_until(has_everything, seconds=240, what="every metric is in Prometheus")
        yield Watched(prometheus, start, time.time())


def set_baselines(service: Service) -> None:
    """Give the baselines a latency, which training does not."""
    with service.client() as client:
        for model in MODELS:
            body = {
                "model_name": model,
                "mean_prediction": 0.03,
                "std_prediction": 0.02,
                "mean_latency_ms": 3.0,
                "std_latency_ms": 1.0,
            }
            assert client.post("/monitoring/baseline", json=body).status_code < 300


def send_traffic(service: Service, rng: random.Random) -> None:
    with service.client() as client:
        for number in range(30):
            request = {
                "user_id": f"user_{number}",
                "ad_id": f"ad_{rng.randrange(50)}",
                "device": rng.choice(["mobile", "desktop", "tablet"]),
                "placement": rng.choice(["header", "sidebar"]),
                "hour": rng.randrange(24),
                "day_of_week": rng.randrange(7),
            }
            answer = client.post(
                "/predict_ctr", json=request, params={"model_name": MODELS[number % len(MODELS)]}
            )
            if answer.is_success and rng.random() < 0.3:
                click(client, answer.json()["prediction_id"])
        client.post("/predict_ctr", json={})


def click(client: httpx.Client, prediction_id: str) -> None:
    client.post("/feedback", json={"events": [{"prediction_id": prediction_id, "clicked": True}]})


def prometheus_has(prometheus: Prometheus) -> bool:
    """Whether every metric has been there for two steps of a panel, evidence among them."""
    two_steps_ago = time.time() - 2
    names = prometheus.query('count by (__name__) ({__name__=~"ctr_.+"})', at=two_steps_ago)
    present = {name["metric"]["__name__"] for name in names}
    return {shown(metric) for metric in catalogue.CATALOGUE} - WITHOUT_DATA.keys() <= present


def shown(metric: catalogue.Metric) -> str:
    return f"{metric.name}_count" if metric.bounds else metric.name


def lacks_data(target: Target) -> bool:
    return bool(target.metrics & WITHOUT_DATA.keys())


@pytest.mark.parametrize("target", [t for t in TARGETS if not lacks_data(t)], ids=str)
def test_a_query_returns_what_its_legend_needs(watched: Watched, target: Target) -> None:
    assert verifier.findings(watched.prometheus, target, watched.choice(target.dashboard)) == []


@pytest.mark.parametrize("target", [t for t in TARGETS if lacks_data(t)], ids=str)
def test_a_panel_without_data_says_so_and_its_query_is_right(
    watched: Watched, target: Target
) -> None:
    assert verifier.answer(watched.prometheus, target, watched.choice(target.dashboard)) == []
    assert target.panel["fieldConfig"]["defaults"]["noValue"] not in {"", "No data"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_offers_what_is_there(watched: Watched, name: str) -> None:
    variables = [v for v in DASHBOARDS[name]["templating"]["list"] if v["type"] == "query"]
    found = {
        v["name"]: verifier.offered(watched.prometheus, v, watched.choice(name)) for v in variables
    }

    assert found["job"] == ["ctr"]
    assert len(found["instance"]) == 1
    assert found["model"] == list(MODELS)
    assert len(found.get("version", ["one"])) == 1


def test_a_chosen_model_is_the_only_one_that_is_shown(watched: Watched) -> None:
    shown = {
        series["metric"]["model"]
        for target in TARGETS
        for series in verifier.answer(
            watched.prometheus, target, watched.choice(target.dashboard, model="xgboost")
        )
        if "model" in series["metric"]
    }

    assert shown == {"xgboost"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_annotation_can_be_asked_for(watched: Watched, name: str) -> None:
    for annotation in DASHBOARDS[name]["annotations"]["list"]:
        expression = watched.choice(name)(annotation["expr"])
        watched.prometheus.query_range(expression, start=watched.start, end=watched.end, step=1)


def test_a_renamed_metric_is_noticed(watched: Watched) -> None:
    [target] = [t for t in TARGETS if t.dashboard == "overview.json" and t.title == "Requests"]
    planted = replace(target, expression=target.expression.replace("_requests_", "_request_"))

    assert verifier.findings(watched.prometheus, target, watched.choice(target.dashboard)) == []
    assert verifier.findings(watched.prometheus, planted, watched.choice(target.dashboard)) == [
        f"{planted}: no data"
    ]


@pytest.mark.parametrize(
    ("legend", "finding"),
    [("{{modl}}", "the legend needs modl"), ("all", "several series of one name: all, all")],
)
def test_a_wrong_legend_is_noticed(watched: Watched, legend: str, finding: str) -> None:
    [target] = [t for t in TARGETS if t.dashboard == "overview.json" and t.title == "Requests"]
    planted = replace(target, legend=legend)

    assert verifier.findings(watched.prometheus, planted, watched.choice(target.dashboard)) == [
        f"{planted}: {finding}"
    ]
