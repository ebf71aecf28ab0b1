"""Real click logs through training and the running service, counted and compared row by row."""

import csv
import gzip
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from exposition import total
from service_process import ROOT, running_service

from service.prediction.ad_request import AdRequest
from service.prediction.experiment import Experiment
from service.prediction.model_folder import load_models

LOGS = ROOT.parent / "shared" / "data"
REPLAYED = 2000
BATCH = 500

T = TypeVar("T")

pytestmark = pytest.mark.integration


def split(log: Path, folder: Path) -> tuple[Path, list[AdRequest]]:
    """Write the first 75 % of a log to a file of its own; give the next 2,000 requests."""
    with gzip.open(log, "rt", newline="") as handle:
        rows = list(csv.DictReader(handle))
    cut = len(rows) * 3 // 4
    first = folder / "first.csv"
    with first.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows[:cut])
    later = [
        AdRequest(
            row["user_id"],
            row["ad_id"],
            row["device"],
            row["placement"],
            int(row["hour"]),
            int(row["day_of_week"]),
        )
        for row in rows[cut : cut + REPLAYED]
    ]
    return first, later


def in_batches(rows: list[T]) -> list[list[T]]:
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


@pytest.mark.parametrize("name", ["avazu_dev", "talkingdata_dev", "obd_dev"])
def test_later_rows_of_a_real_log_are_answered_as_offline_and_counted_exactly(
    name: str, tmp_path: Path
) -> None:
    log = LOGS / f"{name}.csv.gz"
    if not log.exists():
        pytest.skip(f"evaluation data {log.name} is not beside the checkout")
    first, later = split(log, tmp_path)
    subprocess.run(
        [
            *(sys.executable, "scripts/train_models.py"),
            *("--data", str(first), "--output", str(tmp_path / "models")),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    bundles = load_models(tmp_path / "models")
    experiment = Experiment.from_toml(ROOT / "experiment.toml")
    assigned = [experiment.assign(request.user_id).model for request in later]
    expected = np.empty(len(later))
    for model, bundle in bundles.items():
        rows = [i for i, name in enumerate(assigned) if name == model]
        expected[rows] = bundle.model.predict(bundle.encoder.encode([later[i] for i in rows]))

    with (
        running_service(tmp_path / "state", tmp_path / "models") as service,
        service.client() as client,
    ):
        single = [client.post("/predict_ctr", json=r._asdict()).json() for r in later]
        batched = [
            prediction
            for rows in in_batches(later)
            for prediction in client.post(
                "/predict_ctr/batch", json={"requests": [r._asdict() for r in rows]}
            ).json()["predictions"]
        ]
        counted = {
            model: {
                metric: total(client, metric, model=model)
                for metric in ("ctr_prediction_ratio_count", "ctr_prediction_ratio_sum")
            }
            for model in bundles
        }
        requests = total(client, "ctr_requests_total", outcome="success")
        failures = total(client, "ctr_requests_total", outcome="error")
        rejected = total(client, "ctr_rejected_requests_total")

    for answers in (single, batched):
        assert [answer["model_name"] for answer in answers] == assigned
        assert [answer["predicted_ctr"] for answer in answers] == expected.tolist()
    share = Counter(assigned)
    for model in bundles:
        its_scores = [s for s, name in zip(expected, assigned, strict=True) if name == model]
        assert counted[model]["ctr_prediction_ratio_count"] == 2 * share[model]
        assert counted[model]["ctr_prediction_ratio_sum"] == pytest.approx(
            2 * math.fsum(its_scores), rel=1e-12
        )
    # A batch is one request for each model that scored rows of it.
    assert requests == len(later) + sum(len(set(names)) for names in in_batches(assigned))
    assert (failures, rejected) == (0, 0)
