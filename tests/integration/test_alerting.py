"""From an error burst in the service to a message, through real Prometheus and Alertmanager."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from alertmanager_server import catching_webhook, running_alertmanager
from prometheus_server import Prometheus, running_prometheus, wait_until
from service_process import Service, running_service

from deploy.alerting.files import rule_files
from deploy.alerting.pace import REHEARSAL
from deploy.alerting.prometheus import prometheus_config
from deploy.alerting.routing import Notifiers, Timing, alertmanager_config, webhook
from deploy.alerting.yaml_text import yaml_text
from service.training.simulation import simulate

BURST = "xgboost:error=0.3,after_s=12,for_s=15"
FAST = {
    "CTR_FAULTS": BURST,
    "CTR_SNAPSHOT_INTERVAL": "1",
    "CTR_HEALTH_WINDOW": "5",
    "CTR_INSTANCE": "test",
}
SOON = Timing(group_wait="0s", group_interval="1s", repeat_page="1h", repeat_ticket="1h")

pytestmark = pytest.mark.integration


@contextmanager
def traffic(service: Service) -> Iterator[None]:
    """Ask both models what they were trained on, up to 50 times a second: no drift."""
    stop = threading.Event()
    rows = simulate(20_000, seed=0).log.requests()
    random.Random(1).shuffle(rows)

    def ask() -> None:
        with service.client() as client:
            for row in itertools.cycle(rows):
                if stop.wait(0.02):
                    return
                for model in ("xgboost", "logistic"):
                    client.post("/predict_ctr", params={"model_name": model}, json=row._asdict())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def write_config(folder: Path, service: Service, alertmanager: httpx.Client) -> Path:
    """Write the configuration of a rehearsal, by the generator of the production one."""
    (folder / "rules").mkdir()
    for path, text in rule_files(REHEARSAL).items():
        (folder / path).write_text(text)
    config = folder / "prometheus.yml"
    config.write_text(
        yaml_text(
            prometheus_config(
                REHEARSAL,
                targets=[service.url.removeprefix("http://")],
                alertmanagers=[f"{alertmanager.base_url.host}:{alertmanager.base_url.port}"],
            )
        )
    )
    return config


def alerts_of(prometheus: Prometheus) -> set[str]:
    return {series["metric"]["alertname"] for series in prometheus.query("ALERTS")}


def test_an_error_burst_reaches_somebody_and_resolves(
    tool: Callable[[str, str], str], tmp_path: Path, models_dir: Path
) -> None:
    prometheus_binary = tool("prometheus", "prometheus")
    alertmanager_binary = tool("prometheus-alertmanager", "prometheus-alertmanager")
    with catching_webhook() as hook:
        notifiers = Notifiers(page=webhook(hook.url), ticket=webhook(hook.url))
        routes = alertmanager_config(notifiers, SOON)
        with (
            running_alertmanager(alertmanager_binary, tmp_path, routes) as alertmanager,
            running_service(tmp_path / "state", models_dir, env=FAST) as service,
            traffic(service),
            running_prometheus(
                prometheus_binary, write_config(tmp_path, service, alertmanager)
            ) as prometheus,
        ):
            recorded = "job_model:ctr_request_duration_seconds:slow_ratio_rate5s"
            wait_until(
                lambda: len(prometheus.query(f"{recorded} >= 0")) == 2,
                seconds=15,
                what="Prometheus sees both models, and the bucket of the latency objective",
            )
            assert alerts_of(prometheus) == set()

            wait_until(
                lambda: any(
                    labels["alertname"] == "CtrErrorBudgetBurn" for labels in hook.alerts("firing")
                ),
                seconds=30,
                what="the burst reaches the webhook",
            )
            resolved = {"CtrErrorBudgetBurn", "CtrModelDegraded"}
            wait_until(
                lambda: resolved <= {labels["alertname"] for labels in hook.alerts("resolved")},
                seconds=45,
                what="what fired has resolved",
            )

    firing = hook.alerts("firing")
    assert {(labels["model"], labels["alertname"]) for labels in firing} == {
        ("xgboost", "CtrErrorBudgetBurn"),
        ("xgboost", "CtrModelDegraded"),
    }
    assert all(
        alert["annotations"]["description"] and alert["annotations"]["runbook_url"]
        for message in hook.messages
        for alert in message["alerts"]
    )
