"""A model in the shadow: it scores its share, and nothing else notices."""

import hashlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from exposition import total
from model_versions import next_version
from prometheus_server import wait_until
from release_traffic import REQUEST
from releasing_service import (
    EXPERIMENT,
    serving,
)
from scipy import stats

pytestmark = pytest.mark.integration


def test_a_shadow_model_scores_its_share_and_touches_nothing_else(
    models: Path, experiment: Path
) -> None:
    next_version(models, shift=0.5, name="dark")
    experiment.write_text(EXPERIMENT + "dark = 0\n\n[shadow]\ndark = 0.3\n")
    users = 600
    with serving(models, experiment) as service, service.client() as client:
        rows = [REQUEST | {"user_id": f"u{i}", "hour": i % 24} for i in range(users)]
        answers = client.post("/predict_ctr/batch", json={"requests": rows}).json()["predictions"]
        client.post("/predict_ctr/batch?model_name=logistic", json={"requests": rows})
        wait_until(
            lambda: len(client.get("/monitoring/shadow").json()["models"]) == 1 and settled(client),
            seconds=20,
            what="shadow predictions",
        )
        [shadow] = client.get("/monitoring/shadow").json()["models"]
        last_minutes = client.get("/monitoring/shadow?window=5m").json()["models"]
        asked = client.post("/predict_ctr/batch?model_name=dark", json={"requests": rows}).json()
        requests = total(client, "ctr_requests_total", model="dark")
        predictions = total(client, "ctr_prediction_ratio_count", model="dark")

    drawn = [
        i
        for i, row in enumerate(rows)
        if int.from_bytes(
            hashlib.blake2b(
                "\x1f".join(["shadow", "s", "dark", *map(str, row.values())]).encode(),
                digest_size=8,
            ).digest()
        )
        < 0.3 * 2**64
    ]
    scores = np.array([asked["predictions"][i]["predicted_ctr"] for i in drawn])
    answered = np.array([answers[i]["predicted_ctr"] for i in drawn])
    differences = scores - answered
    assert {answer["model_name"] for answer in answers} == {"logistic", "xgboost"}
    assert stats.binomtest(len(drawn), users, 0.3).pvalue > 0.001
    assert shadow["share"] == 0.3
    assert (shadow["predictions"], shadow["errors"]) == (len(drawn), 0)
    assert shadow["mean_prediction"] == pytest.approx(scores.mean(), rel=1e-9)
    assert shadow["std_prediction"] == pytest.approx(scores.std(), rel=1e-6)
    assert shadow["mean_answered"] == pytest.approx(answered.mean(), rel=1e-9)
    assert shadow["mean_difference"] == pytest.approx(differences.mean(), rel=1e-9)
    assert shadow["std_difference"] == pytest.approx(differences.std(), rel=1e-6)
    assert shadow["mean_difference_interval"] == pytest.approx(
        stats.norm.interval(0.95, differences.mean(), differences.std() / len(drawn) ** 0.5),
        rel=1e-6,
    )
    assert last_minutes == [shadow]
    # Only what it was asked itself is a request to it.
    assert (requests, predictions) == (1, users)


def settled(client: httpx.Client) -> bool:
    """Whether all was scored: the share is known, and the number that was drawn stands still."""
    scored: int = client.get("/monitoring/shadow").json()["models"][0]["predictions"]
    return (
        scored > 100
        and scored == client.get("/monitoring/shadow").json()["models"][0]["predictions"]
    )
