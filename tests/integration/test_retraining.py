"""Drift that persists makes Alertmanager call the receiver, which trains new models."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from alertmanager_server import running_alertmanager
from prometheus_server import wait_until
from service_process import ROOT

from deploy.alerting.routing import RETRAINING, Notifiers, Timing, alertmanager_config
from service.prediction.model_folder import load_models

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


def test_drift_that_persists_leads_to_new_models(
    tool: Callable[[str, str], str], tmp_path: Path
) -> None:
    binary = tool("prometheus-alertmanager", "prometheus-alertmanager")
    token, models = tmp_path / "token", tmp_path / "models"
    token.write_text("secret\n")
    command = [
        *(sys.executable, "-m", "deploy.retraining", "--port", "0"),
        *("--state-dir", str(tmp_path / "var"), "--token-file", str(token), "--"),
        *(sys.executable, "scripts/train_models.py", "--rows", "3000", "--output", str(models)),
    ]
    receiver = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert receiver.stdout is not None
        url = receiver.stdout.readline().split()[-1]
        with running_alertmanager(binary, tmp_path, routes(url, token)) as alertmanager:
            labels = {"alertname": "CtrDriftPersists", "job": "ctr", "model": "xgboost"}
            labels |= {"severity": "ticket", "quantity": "predictions", "version": "v1"}
            assert alertmanager.post("/api/v2/alerts", json=[{"labels": labels}]).status_code == 200
            wait_until(
                lambda: len(list(models.glob("*/CURRENT"))) == 2,
                seconds=60,
                what="two models are trained",
            )
    finally:
        receiver.send_signal(signal.SIGINT)
        receiver.communicate(timeout=60)

    assert receiver.returncode == 0
    assert set(load_models(models)) == {"xgboost", "logistic"}
