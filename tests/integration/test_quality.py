"""What the service says of a model's quality is what scikit-learn says of its single answers."""

import csv
import gzip
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from exposition import samples
from mlflow.tracking import MlflowClient
from prometheus_server import wait_until
from service_process import ROOT, running_service
from sklearn.metrics import log_loss, roc_auc_score

from service.prediction.ad_request import AdRequest
from service.training.simulation import simulate

pytestmark = pytest.mark.integration

LOGS = ROOT.parent / "shared" / "data"
MODELS = ("logistic", "xgboost")
ATTRIBUTION_SECONDS = 30
ENV = {
    "CTR_ATTRIBUTION_WINDOW": str(ATTRIBUTION_SECONDS),
    "CTR_SNAPSHOT_INTERVAL": "1",
}
BATCH = 500
LATE = 10
"""Clicks that are sent when their attribution window is over."""


@dataclass(frozen=True)
class Judged:
    """A service all of whose predictions are mature, and what it was asked and answered."""

    client: httpx.Client
    scores: Mapping[str, Any]
    """Of each model, shape ``(n,)``."""
    clicked: Mapping[str, Any]
    """Whose click was sent in time."""
    late: Mapping[str, int]
    """What became of the late clicks."""
    early: Mapping[str, Any] = field(default_factory=dict)
    """What it said of each model before anything was mature, if it was asked."""
    mlflow: str = ""
    """Where the bridge writes to, if it does."""

    def quality(self, model: str, **query: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/monitoring/quality/{model}", params=query).json()
        return found


@dataclass(frozen=True)
class Replayed:
    """A service that has answered and been told what was clicked."""

    client: httpx.Client
    answers: Sequence[Mapping[str, Any]]
    clicked: Sequence[bool]
    late: Sequence[str]
    """Ids whose click is held back."""

    def judged(self) -> Judged:
        """Wait until everything is mature."""
        wait_until(lambda: all(map(self._is_mature, MODELS)), seconds=150, what="mature cohorts")
        scores, clicked = defaultdict(list), defaultdict(list)
        for answer, click in zip(self.answers, self.clicked, strict=True):
            scores[answer["model_name"]].append(answer["predicted_ctr"])
            clicked[answer["model_name"]].append(click)
        return Judged(
            client=self.client,
            scores={model: np.array(found) for model, found in scores.items()},
            clicked={model: np.array(found) for model, found in clicked.items()},
            late=send_clicks(self.client, self.late) if self.late else {},
        )

    def _is_mature(self, model: str) -> bool:
        quality = self.client.get(f"/monitoring/quality/{model}").json()
        return bool(quality["predictions"] and not quality["maturing_predictions"])


def replay(
    client: httpx.Client, requests: Sequence[AdRequest], clicked: Sequence[bool], *, late: int = 0
) -> Replayed:
    """Ask for predictions and send the clicks on each batch, but for the last few."""
    answers: list[Mapping[str, Any]] = []
    sent: list[str] = []
    in_time = sum(clicked) - late
    for first in range(0, len(requests), BATCH):
        batch = requests[first : first + BATCH]
        found = client.post(
            "/predict_ctr/batch", json={"requests": [request._asdict() for request in batch]}
        ).json()["predictions"]
        answers += found
        clicks = [
            answer["prediction_id"]
            for answer, click in zip(found, clicked[first : first + BATCH], strict=True)
            if click
        ][: in_time - len(sent)]
        assert send_clicks(client, clicks) == ({"accepted": len(clicks)} if clicks else {})
        sent += clicks
    was_sent = set(sent)
    return Replayed(
        client=client,
        answers=answers,
        clicked=[answer["prediction_id"] in was_sent for answer in answers],
        late=[
            answer["prediction_id"]
            for answer, click in zip(answers, clicked, strict=True)
            if click and answer["prediction_id"] not in was_sent
        ],
    )


def maturing(client: httpx.Client, model: str) -> int:
    found: int = client.get(f"/monitoring/quality/{model}").json()["maturing_predictions"]
    return found


def send_clicks(client: httpx.Client, ids: Sequence[str]) -> dict[str, int]:
    """Send clicks; give what became of how many."""
    answers = [
        client.post(
            "/feedback",
            json={"events": [{"prediction_id": i, "clicked": True} for i in ids[first:last]]},
        ).json()
        for first, last in ((n, n + BATCH) for n in range(0, len(ids), BATCH))
    ]
    return {
        result: count
        for result in ("accepted", "duplicates", "expired", "invalid", "unknown")
        if (count := sum(answer[result] for answer in answers))
    }


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Judged]:
    log = simulate(6000, seed=77).log
    folder = tmp_path_factory.mktemp("quality")
    env = ENV | {
        "CTR_BRIDGE_ENABLED": "true",
        "CTR_BRIDGE_WINDOW": "5",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    with (
        running_service(folder / "state", models_dir, env=env, workers=2) as service,
        service.client() as client,
    ):
        replayed = replay(client, log.requests(), log.click.tolist(), late=LATE)
        wait_until(
            lambda: sum(maturing(client, model) for model in MODELS) == len(log),
            seconds=ATTRIBUTION_SECONDS,
            what="a snapshot of all predictions",
        )
        early = {model: client.get(f"/monitoring/quality/{model}").json() for model in MODELS}
        again = replayed.answers[replayed.clicked.index(True)]["prediction_id"]
        assert send_clicks(client, [again]) == {"duplicates": 1}
        yield replace(replayed.judged(), early=early, mlflow=env["MLFLOW_TRACKING_URI"])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Judged]]:
    """The later rows of each log, by a service whose models have seen the rows before."""
    logs = sorted(LOGS.glob("*.csv.gz"))
    if not logs:
        pytest.skip("evaluation data are not beside the checkout")
    folder = tmp_path_factory.mktemp("real")
    with ExitStack() as running:
        replayed = {}
        for log in logs:
            name = log.name.removesuffix(".csv.gz")
            models, rows = trained_on_first_rows(log, folder / name)
            service = running.enter_context(
                running_service(folder / name / "state", models, env=ENV)
            )
            client = running.enter_context(service.client())
            replayed[name] = replay(client, *zip(*rows, strict=True))
        yield {name: one.judged() for name, one in replayed.items()}


def trained_on_first_rows(log: Path, folder: Path) -> tuple[Path, list[tuple[AdRequest, bool]]]:
    """Train on the first three quarters; give the models and the other rows."""
    folder.mkdir()
    with gzip.open(log, "rt", newline="") as handle:
        rows = list(csv.DictReader(handle))
    cut = len(rows) * 3 // 4
    with (folder / "first.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows[:cut])
    subprocess.run(
        [
            *(sys.executable, "scripts/train_models.py"),
            *("--data", str(folder / "first.csv"), "--output", str(folder / "models")),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder / "models", [
        (
            AdRequest(
                row["user_id"],
                row["ad_id"],
                row["device"],
                row["placement"],
                int(row["hour"]),
                int(row["day_of_week"]),
            ),
            row["click"] == "1",
        )
        for row in rows[cut:]
    ]


def assert_equals_scikit_learn(judged: Judged, model: str) -> None:
    """Hold an answer against the single rows: exact sums to 1e-9, buckets within their bounds."""
    found = judged.quality(model)
    scores, clicked = judged.scores[model], judged.clicked[model]
    expected_loss = log_loss(clicked, scores)

    assert (found["predictions"], found["clicks"]) == (len(scores), clicked.sum())
    assert found["ctr"] == pytest.approx(clicked.mean(), rel=1e-12)
    assert found["mean_prediction"] == pytest.approx(scores.mean(), rel=1e-9)
    assert found["calibration_ratio"] == pytest.approx(scores.sum() / clicked.sum(), rel=1e-9)
    assert found["log_loss"] == pytest.approx(expected_loss, rel=1e-9)
    assert found["normalized_entropy"] == pytest.approx(
        expected_loss / log_loss(clicked, np.full(len(clicked), clicked.mean())), rel=1e-9
    )
    low, high = found["auc_bounds"]
    assert low <= roc_auc_score(clicked, scores) <= high
    assert low <= found["auc"] <= high
    for row in found["reliability"]:
        inside = (scores > row["lower"]) & (scores <= row["upper"])
        assert (row["predictions"], row["clicks"]) == (inside.sum(), clicked[inside].sum())
        assert row["lower"] <= row["mean_prediction"] <= row["upper"]
        assert abs(row["mean_prediction"] - scores[inside].mean()) <= row["upper"] - row["lower"]
    assert sum(row["predictions"] for row in found["reliability"]) == len(scores)
    for name in ("ctr", "log_loss", "normalized_entropy", "auc"):
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high, name
    low, high = found["calibration_interval"]
    assert low < found["calibration_ratio"] < high


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_that_of_scikit_learn_on_the_single_answers(
    simulated: Judged, model: str
) -> None:
    assert_equals_scikit_learn(simulated, model)
    assert simulated.quality(model)["status"] == "ok"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("log", ["avazu_dev", "talkingdata_dev", "obd_dev"])
def test_so_it_is_on_real_logs(real: Mapping[str, Judged], log: str, model: str) -> None:
    if log not in real:
        pytest.skip(f"evaluation data {log} are not beside the checkout")
    assert_equals_scikit_learn(real[log], model)
    found = real[log].quality(model)
    told = "calibration_ratio", "calibration_interval", "normalized_entropy", "auc", "auc_bounds"
    print(log, model, found["predictions"], found["clicks"], *(found[name] for name in told))


@pytest.mark.parametrize("model", MODELS)
def test_before_anything_is_mature_it_says_so_and_when_it_will_be(
    simulated: Judged, model: str
) -> None:
    early = simulated.early[model]

    assert (early["status"], early["shortage"]) == ("insufficient_data", "few_predictions")
    assert (early["predictions"], early["clicks"], early["reliability"]) == (0, 0, [])
    numbers = "ctr", "mean_prediction", "calibration_ratio", "log_loss", "normalized_entropy", "auc"
    assert [early[name] for name in numbers] == [None] * len(numbers)
    assert early["maturing_predictions"] == len(simulated.scores[model])
    assert early["maturing_clicks"] == simulated.clicked[model].sum()
    window_end = simulated.quality(model)["window_end"]
    assert early["window_end"] < early["sufficient_at"]
    assert early["attribution_window_seconds"] == ATTRIBUTION_SECONDS
    assert early["window_end"] < window_end


def test_a_click_after_its_window_changes_nothing(simulated: Judged) -> None:
    assert simulated.late == {"expired": LATE}


@pytest.mark.parametrize("model", MODELS)
def test_the_gauges_are_the_answer(simulated: Judged, model: str) -> None:
    def shown() -> dict[str, float]:
        return {
            name + dict(labels).get("measure", "") + dict(labels).get("le", ""): value
            for (name, labels), value in samples(simulated.client).items()
            if name.startswith("ctr_quality_") and dict(labels)["model"] == model
        }

    rest = simulated.quality(model)
    wait_until(
        lambda: shown().get("ctr_quality_predictions") == rest["predictions"],
        seconds=90,
        what="the next full minute",
    )
    gauges = shown()

    assert gauges["ctr_quality_clicks"] == rest["clicks"]
    for gauge, name in (
        ("ctr_ratio", "ctr"),
        ("calibration_ratio", "calibration_ratio"),
        ("log_loss", "log_loss"),
        ("normalized_entropy", "normalized_entropy"),
        ("auc", "auc"),
    ):
        assert gauges[f"ctr_quality_{gauge}"] == rest[name]
        ends = [gauges[f"ctr_quality_interval_{end}{name}"] for end in ("low", "high")]
        assert ends == rest[f"{name.removesuffix('_ratio')}_interval"]
    buckets = [key for key in gauges if key.startswith("ctr_quality_bucket_ctr_ratio")]
    assert len(buckets) == len(rest["reliability"])
    for row in rest["reliability"]:
        assert gauges[f"ctr_quality_bucket_ctr_ratio{row['upper']}"] == row["ctr"]


@pytest.mark.parametrize("model", MODELS)
def test_mlflow_has_the_answer_once_for_each_minute_that_matured(
    simulated: Judged, model: str
) -> None:
    mlflow = MlflowClient(simulated.mlflow)

    def told(name: str) -> list[float]:
        experiment = mlflow.get_experiment_by_name("ctr_prediction_production")
        if experiment is None:
            return []
        runs = mlflow.search_runs([experiment.experiment_id], f"tags.model_name = '{model}'")
        points = [p for r in runs for p in mlflow.get_metric_history(r.info.run_id, name)]
        assert len({point.step for point in points}) == len(points)
        return [point.value for point in sorted(points, key=lambda point: point.step)]

    rest = simulated.quality(model)
    wait_until(
        lambda: rest["predictions"] in told("quality_predictions"),
        seconds=120,
        what="the window in which the predictions matured",
    )

    assert told("quality_clicks")[-1] == rest["clicks"]
    for name in ("ctr", "calibration_ratio", "log_loss", "normalized_entropy", "auc"):
        assert told(f"quality_{name}")[-1] == rest[name]
        ends = [told(f"quality_{name}_{end}")[-1] for end in ("low", "high")]
        assert ends == rest[f"{name.removesuffix('_ratio')}_interval"]
        assert told(f"{model}_quality_{name}") == told(f"quality_{name}")


def test_a_window_without_predictions_has_no_numbers(simulated: Judged) -> None:
    def is_over() -> bool:
        return not simulated.quality(MODELS[0], window="60s")["predictions"]

    wait_until(is_over, seconds=150, what="a mature minute without predictions")
    found = simulated.quality(MODELS[0], window="60s")

    assert (found["status"], found["ctr"], found["auc"]) == ("insufficient_data", None, None)


def test_what_cannot_be_answered_is_refused(simulated: Judged) -> None:
    client = simulated.client

    unknown = client.get("/monitoring/quality/nobody")
    version = client.get("/monitoring/quality/xgboost?version=19990101T000000Z-0")
    window = client.get("/monitoring/quality/xgboost?window=8d")
    scope = client.get("/monitoring/quality/xgboost?scope=fleet")

    assert (unknown.status_code, version.status_code) == (404, 404)
    assert (window.status_code, scope.status_code) == (422, 422)
    assert str(7 * 86_400 - ATTRIBUTION_SECONDS) in window.text
    assert "19990101T000000Z-0" in version.json()["detail"]


def test_the_version_that_is_served_may_be_named(simulated: Judged) -> None:
    served = simulated.quality("xgboost")["model_version"]

    assert simulated.quality("xgboost", version=served)["clicks"] > 0


def test_the_answer_is_documented(simulated: Judged) -> None:
    document = simulated.client.get("/openapi.json").json()
    path = document["paths"]["/monitoring/quality/{model_name}"]["get"]

    assert path["tags"] == ["Monitoring"]
    assert set(path["responses"]) >= {"200", "404", "422", "503"}
