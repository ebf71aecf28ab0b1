"""Drift that persists makes Alertmanager call the receiver, which trains new models."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from alertmanager_server import running_alertmanager
from model_versions import next_version
from prometheus_server import wait_until
from release_traffic import REQUEST
from scipy import stats
from service_process import ROOT, running_service

from deploy.alerting.routing import RETRAINING, Notifiers, Timing, alertmanager_config
from deploy.retraining.challenge import Challenge, ChallengeError, ExperimentRunningError
from service.prediction.model_folder import load_bundle, load_models
from service.training.simulation import simulate

pytestmark = pytest.mark.integration


def routes(receiver: str, token_file: Path) -> Mapping[str, Any]:
    """Give the example's routes, with this receiver and this token."""
    assert RETRAINING.retraining is not None
    [example] = RETRAINING.retraining["webhook_configs"]
    here = {
        **example,
        "url": receiver,
        "http_config": {"authorization": {"credentials_file": str(token_file)}},
    }
    return alertmanager_config(
        Notifiers(retraining={"webhook_configs": [here]}),
        Timing(group_wait="0s", group_interval="1s"),
    )


@contextmanager
def receiving(folder: Path, token: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """Run the receiver; gives its URL and its log."""
    log_file = folder / "receiver.log"
    command = [
        *(sys.executable, "-m", "deploy.retraining", "--port", "0"),
        *("--state-dir", str(folder / "var"), "--token-file", str(token)),
        *options,
    ]
    with log_file.open("w") as log:
        receiver = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert receiver.stdout is not None
        yield receiver.stdout.readline().split()[-1], log_file
    finally:
        receiver.send_signal(signal.SIGINT)
        receiver.communicate(timeout=60)
        sys.stderr.write(log_file.read_text())
    assert receiver.returncode == 0


def drift_persists(alertmanager: httpx.Client) -> None:
    labels = {"alertname": "CtrDriftPersists", "job": "ctr", "model": "xgboost"}
    labels |= {"severity": "ticket", "quantity": "predictions", "version": "v1"}
    assert alertmanager.post("/api/v2/alerts", json=[{"labels": labels}]).status_code == 200


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("secret\n")
    return file


def test_drift_that_persists_leads_to_new_models(
    tool: Callable[[str, str], str], tmp_path: Path, token: Path
) -> None:
    binary = tool("prometheus-alertmanager", "prometheus-alertmanager")
    models = tmp_path / "models"
    train = ("scripts/train_models.py", "--rows", "3000", "--output", str(models))
    with (
        receiving(tmp_path, token, "--", sys.executable, *train) as (url, _),
        running_alertmanager(binary, tmp_path, routes(url, token)) as alertmanager,
    ):
        drift_persists(alertmanager)
        wait_until(
            lambda: len(list(models.glob("*/CURRENT"))) == 2,
            seconds=60,
            what="two models are trained",
        )

    assert set(load_models(models)) == {"xgboost", "logistic"}


def recent_log(folder: Path, *, rows: int) -> Path:
    """Write a click log of another day, for ads that are new."""
    log = simulate(rows, seed=77).log
    path = folder / "recent.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "ad_id", "device", "placement", "hour", "day_of_week", "click"])
        for request, click in zip(log.requests(), log.click, strict=True):
            writer.writerow([*request._replace(ad_id=f"new {request.ad_id}"), int(click)])
    return path


def test_the_loop_is_closed_from_drift_to_answers_of_a_challenger_trained_on_recent_logs(
    tool: Callable[[str, str], str], tmp_path: Path, models_dir: Path, token: Path
) -> None:
    binary = tool("prometheus-alertmanager", "prometheus-alertmanager")
    models, experiment = tmp_path / "models", tmp_path / "experiment.toml"
    log = recent_log(tmp_path, rows=4000)
    shutil.copytree(models_dir, models)
    experiment.write_text('name = "alone"\nsalt = "s"\n[variants]\nxgboost = 1\n')
    settings = {"CTR_EXPERIMENT_FILE": str(experiment), "CTR_SNAPSHOT_INTERVAL": "1"}
    rows = [REQUEST | {"user_id": f"u{i}"} for i in range(1000)]
    with (
        running_service(tmp_path / "state", models, env=settings, workers=2) as service,
        service.client() as client,
        receiving(
            tmp_path,
            token,
            *("--service-url", service.url, "--experiment-file", str(experiment)),
            *("--weight", "0.2", "--cooldown", "0", "--"),
            *(sys.executable, "scripts/train_models.py", "--write-as", "{challengers}"),
            *("--data", str(log), "--output", str(models)),
        ) as (url, receiver_log),
        running_alertmanager(binary, tmp_path, routes(url, token)) as alertmanager,
    ):
        served_before = client.get("/readyz").json()["models"]
        drift_persists(alertmanager)
        wait_until(
            lambda: "xgboost_challenger" in client.get("/readyz").json()["models"],
            seconds=120,
            what="the challenger is served",
        )
        wait_until(lambda: "competes" in receiver_log.read_text(), seconds=20, what="the log")
        served = client.get("/readyz").json()["models"]
        predictions = client.post("/predict_ctr/batch", json={"requests": rows}).json()
        answered = Counter(p["model_name"] for p in predictions["predictions"])
        baseline = client.get("/monitoring/baseline/xgboost_challenger").json()
        drift = client.get("/monitoring/drift/xgboost_challenger").json()
        compared = client.get("/monitoring/experiment").json()
        # The test that runs now is not overwritten.
        again = client.post(
            url, headers={"Authorization": "Bearer secret"}, content=payload("xgboost")
        ).json()

    challenger = load_bundle(models / "xgboost_challenger")
    written = tomllib.loads(experiment.read_text())
    assert served == {**served_before, "xgboost_challenger": challenger.version}
    assert challenger.metadata.data_description.startswith("recent.csv: 4,000 rows")
    assert written["variants"] == {"xgboost": 0.8, "xgboost_challenger": 0.2}
    assert set(answered) == {"xgboost", "xgboost_challenger"}
    assert stats.binomtest(answered["xgboost_challenger"], len(rows), 0.2).pvalue > 0.001
    assert baseline["model_version"] == challenger.version
    assert baseline["mean_prediction"] == challenger.baseline.mean_prediction
    assert drift["observations"] == answered["xgboost_challenger"]
    assert compared["name"].startswith("xgboost_challenger-")
    assert {v["model_name"]: v["model_version"] for v in compared["variants"]} == {
        model: served[model] for model in ("xgboost", "xgboost_challenger")
    }
    assert again["training"] == "an experiment is running"
    assert experiment.with_name("experiment.toml.before").read_text().startswith('name = "alone"')


def payload(model: str) -> bytes:
    labels = {"alertname": "CtrDriftPersists", "model": model}
    alerts = [{"status": "firing", "labels": labels}]
    return json.dumps({"version": "4", "status": "firing", "alerts": alerts}).encode()


@pytest.mark.parametrize(
    ("weight", "share", "expected"),
    [
        (0.2, 1.0, {"variants": {"logistic": 0.8, "logistic_challenger": 0.2}}),
        (
            None,
            0.5,
            {"variants": {"logistic": 1.0}, "shadow": {"logistic_challenger": 0.5}},
        ),
    ],
)
def test_what_the_service_refuses_leaves_the_experiment_as_it_was_and_what_it_takes_is_written(
    tmp_path: Path,
    models_dir: Path,
    weight: float | None,
    share: float,
    expected: Mapping[str, Any],
) -> None:
    models, experiment = tmp_path / "models", tmp_path / "experiment.toml"
    shutil.copytree(models_dir, models)
    experiment.write_text('name = "alone"\nsalt = "s"\n[variants]\nlogistic = 1\n')
    before = experiment.read_bytes()
    with running_service(
        tmp_path / "state", models, env={"CTR_EXPERIMENT_FILE": str(experiment)}
    ) as service:
        challenge = Challenge(
            experiment_file=experiment, service_url=service.url, weight=weight, shadow_share=share
        )
        with pytest.raises(ChallengeError, match="there is no such model"):
            challenge.begin({"logistic"})  # nobody has trained it
        refused = experiment.read_bytes()
        next_version(models, name="logistic_challenger")
        challenge.begin({"logistic"})
        with pytest.raises(ExperimentRunningError):
            challenge.begin({"logistic"})

    assert refused == before
    written = tomllib.loads(experiment.read_text())
    assert {key: written[key] for key in expected} == expected
