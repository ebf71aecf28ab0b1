"""Releases of a running service: for every worker or for none, and no request notices."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from exposition import samples, total
from model_versions import next_version, without_a_score
from prometheus_server import wait_until
from release_traffic import REQUEST, Traffic, traffic
from releasing_service import (
    EXPERIMENT,
    damage_the_model,
    reload,
    served,
    served_by_every_connection,
    serving,
    versions_served,
)
from service_process import Service

from service.prediction.model_folder import current_version, make_current

pytestmark = pytest.mark.integration


def counted_by_version(client: httpx.Client) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for (name, labels), value in samples(client).items():
        if name == "ctr_requests_total":
            its = dict(labels)
            key = (its["model"], its["version"])
            found[key] = found.get(key, 0.0) + value
    return {key: value for key, value in found.items() if value}


def seen_by(running: Traffic, model: str, version: str, least: int) -> bool:
    return running.answered_by(model, version) >= least


@pytest.mark.parametrize("workers", [1, 2])
def test_under_load_a_release_fails_no_request_and_every_answer_is_counted_for_its_version(
    models: Path, experiment: Path, workers: int
) -> None:
    with serving(models, experiment, workers=workers) as service, service.client() as client:
        first = served(client)["logistic"]
        with traffic(service.url) as running:
            for _ in range(2):
                version = next_version(models, devices=["fridge"]).version
                answer = reload(client)
                assert answer.status_code == 200, answer.text
                loaded = {model["model_name"]: model for model in answer.json()["loaded"]}
                assert loaded["logistic"]["version"] == version
                assert answer.json()["workers"] == workers
                # The answer came after the last worker had switched.
                assert versions_served(service) == {version}
                wait_until(
                    partial(seen_by, running, "logistic", version, 50), seconds=30, what="answers"
                )
        counted = counted_by_version(client)
        statistics = client.get("/monitoring/stats?model_name=logistic").json()
        in_progress = total(client, "ctr_requests_in_progress")

    assert running.failed == []
    assert counted == dict(running.answered)
    assert sum(version > first for model, version in counted if model == "logistic") == 2
    assert statistics["total_requests"] == sum(
        n for (model, _), n in running.answered.items() if model == "logistic"
    )
    assert in_progress == 0


def test_a_release_brings_its_own_baseline_fresh_drift_and_its_own_vocabulary(
    models: Path, experiment: Path
) -> None:
    with serving(models, experiment) as service, service.client() as client:
        old = served(client)["logistic"]
        by_hand = {
            "model_name": "logistic",
            "mean_prediction": 0.5,
            "std_prediction": 0.1,
            "mean_latency_ms": 1.0,
            "std_latency_ms": 1.0,
        }
        assert client.post("/monitoring/baseline", json=by_hand).status_code == 200
        for _ in range(150):
            client.post("/predict_ctr?model_name=logistic", json=REQUEST)
        bundle = next_version(models, devices=["fridge"])
        assert reload(client, model_name="logistic").status_code == 200
        client.post("/predict_ctr?model_name=logistic", json=REQUEST | {"device": "fridge"})

        baseline = client.get("/monitoring/baseline/logistic").json()
        drift = client.get("/monitoring/drift/logistic").json()
        fridges = {
            dict(labels)["version"]: value
            for (name, labels), value in samples(client).items()
            if name == "ctr_feature_values_total" and ("value", "fridge") in labels
        }
        wait_until(
            lambda: "ctr_baseline_prediction_mean_ratio" in client.get("/metrics").text,
            seconds=10,
            what="a tick",
        )
        gauges = {
            dict(labels)["version"]
            for (name, labels), _ in samples(client).items()
            if name in {"ctr_model_info", "ctr_baseline_prediction_mean_ratio"}
            and ("model", "logistic") in labels
        }

    assert old < bundle.version
    assert baseline["model_version"] == bundle.version
    assert baseline["mean_prediction"] == bundle.baseline.mean_prediction
    assert drift["observations"] == 1
    assert fridges == {bundle.version: 1}
    assert gauges == {bundle.version}


def damage_the_version_that_is_served(models: Path, experiment: Path) -> str:
    del experiment
    file = models / "logistic/versions" / current_version(models / "logistic") / "features.json"
    file.write_bytes(b"{}")
    return f"{file} cannot be used: its checksum"


def name_a_version_that_is_not_there(models: Path, experiment: Path) -> str:
    del experiment
    (models / "logistic/CURRENT").write_text("20200101T000000Z-000000\n")
    return f"{models / 'logistic/CURRENT'} names the version"


def name_a_model_that_is_not_there(models: Path, experiment: Path) -> str:
    next_version(models)
    experiment.write_text(EXPERIMENT + "missing = 1\n")
    return f"{experiment}: variants.missing: there is no such model"


def delete_a_model_of_the_experiment(models: Path, experiment: Path) -> str:
    next_version(models)
    shutil.rmtree(models / "xgboost")
    return f"{experiment}: variants.xgboost: there is no such model"


def delete_the_experiment(models: Path, experiment: Path) -> str:
    next_version(models)
    experiment.unlink()
    return f"{experiment}: No such file"


def shadow_a_model_that_answers(models: Path, experiment: Path) -> str:
    next_version(models)
    experiment.write_text(EXPERIMENT + "[shadow]\nlogistic = 0.5\n")
    return f"{experiment}: shadow.logistic: it answers already"


def train_a_model_that_gives_no_number(models: Path, experiment: Path) -> str:
    del experiment
    version = without_a_score(models).version
    return f"the model logistic version {version} fails a trial prediction: it answers nan"


@pytest.fixture(scope="module")
def two_workers(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[tuple[Service, Path, Path]]:
    folder = tmp_path_factory.mktemp("refusals")
    models = shutil.copytree(models_dir, folder / "models")
    file = folder / "experiment.toml"
    file.write_text(EXPERIMENT)
    with serving(models, file, workers=2) as service:
        yield service, models, file


@pytest.mark.parametrize(
    "spoil",
    [
        damage_the_model,
        damage_the_version_that_is_served,
        name_a_version_that_is_not_there,
        name_a_model_that_is_not_there,
        delete_a_model_of_the_experiment,
        delete_the_experiment,
        shadow_a_model_that_answers,
        train_a_model_that_gives_no_number,
    ],
)
def test_a_release_is_refused_whole_and_names_file_and_fault(
    two_workers: tuple[Service, Path, Path], models_dir: Path, spoil: object
) -> None:
    service, models, experiment = two_workers
    assert callable(spoil)
    shutil.rmtree(models)
    shutil.copytree(models_dir, models)
    experiment.write_text(EXPERIMENT)
    before = served_by_every_connection(service)
    problem = spoil(models, experiment)

    with service.client() as client:
        answer = reload(client)
        predicted = client.post("/predict_ctr", json=REQUEST)

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem in answer.json()["detail"]
    assert str(service.state_dir) not in answer.text
    assert len(before) == 1
    assert served_by_every_connection(service) == before
    assert predicted.status_code == 200
    # Nothing is left of it either.
    releases = service.state_dir / "releases"
    assert [path.name for path in releases.iterdir() if path.is_dir()] == ["1"]


def test_an_unknown_model_is_not_found_and_a_bad_body_names_its_field(
    two_workers: tuple[Service, Path, Path],
) -> None:
    with two_workers[0].client() as client:
        unknown = [
            client.post(f"/models/{what}", json={"model_name": "nope"})
            for what in ("reload", "rollback")
        ]
        wrong = client.post("/models/rollback", json={"model": "logistic"})
        empty = client.post("/models/rollback")

    assert [answer.status_code for answer in unknown] == [404, 404]
    assert wrong.status_code == empty.status_code == 422
    assert {"model_name", "model"} == {error["field"] for error in wrong.json()["errors"]}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rollback_serves_the_version_before_also_after_a_restart(
    models: Path, experiment: Path, workers: int
) -> None:
    with serving(models, experiment, workers=workers) as service, service.client() as client:
        none_before = client.post("/models/rollback", json={"model_name": "logistic"})
        versions = [served(client)["logistic"]]
        for _ in range(2):
            versions.append(next_version(models).version)
            reload(client)
        client.post("/predict_ctr?model_name=logistic", json=REQUEST)
        back = client.post("/models/rollback", json={"model_name": "logistic"})
        client.post("/predict_ctr?model_name=logistic", json=REQUEST)
        after = served_by_every_connection(service)
        counted = counted_by_version(client)
    with serving(models, experiment, workers=workers) as service, service.client() as client:
        restarted = served(client)
        again = client.post("/models/rollback", json={"model_name": "logistic"})
        exhausted = client.post("/models/rollback", json={"model_name": "logistic"})
        make_current(models / "logistic", versions[2])
        forward = reload(client, model_name="logistic")

    assert none_before.status_code == 409
    assert "has served no other version here" in none_before.json()["detail"]
    assert back.json()["loaded"] == [
        {"model_name": "logistic", "version": versions[1], "previous_version": versions[2]}
    ]
    assert [json.loads(said)["logistic"] for said in after] == [versions[1]]
    assert counted == {("logistic", versions[1]): 1, ("logistic", versions[2]): 1}
    assert restarted["logistic"] == versions[1]
    assert again.json()["loaded"][0]["version"] == versions[0]
    assert exhausted.status_code == 409
    assert forward.json()["loaded"][0]["version"] == versions[2]


def test_a_version_that_comes_back_goes_on_counting(models: Path, experiment: Path) -> None:
    with serving(models, experiment) as service, service.client() as client:
        first = served(client)["logistic"]
        for _ in range(3):
            client.post("/predict_ctr?model_name=logistic", json=REQUEST)
        next_version(models)
        reload(client)
        client.post("/models/rollback", json={"model_name": "logistic"})
        for _ in range(4):
            client.post("/predict_ctr?model_name=logistic", json=REQUEST)

        assert counted_by_version(client) == {("logistic", first): 7}


def test_metrics_show_the_newest_three_versions_and_the_history_has_all(
    models: Path, experiment: Path
) -> None:
    with serving(models, experiment) as service, service.client() as client:
        versions = [served(client)["logistic"]]
        for release in range(5):
            for _ in range(release + 1):
                client.post("/predict_ctr?model_name=logistic", json=REQUEST)
            if release < 4:
                versions.append(next_version(models).version)
                reload(client)
        counted = counted_by_version(client)
        since_the_start = client.get("/monitoring/stats?model_name=logistic").json()
        last_hour = client.get("/monitoring/stats?model_name=logistic&window=1h").json()

    assert counted == {
        ("logistic", version): n for version, n in zip(versions[2:], (3, 4, 5), strict=True)
    }
    assert since_the_start["total_requests"] == 3 + 4 + 5
    assert last_hour["total_requests"] == 1 + 2 + 3 + 4 + 5


def test_models_come_and_go_without_a_restart(models: Path, experiment: Path) -> None:
    with serving(models, experiment, workers=2) as service:
        challenger = next_version(models, name="challenger")
        experiment.write_text(EXPERIMENT + "challenger = 1.0\n")
        with service.client() as client:
            came = reload(client).json()
        with traffic(service.url, clients=2) as running:
            wait_until(
                partial(seen_by, running, "challenger", challenger.version, 20),
                seconds=30,
                what="answers of the challenger",
            )
        with service.client() as client:
            baseline = client.get("/monitoring/baseline/challenger").json()
        shutil.rmtree(models / "xgboost")
        experiment.write_text(EXPERIMENT.replace("xgboost", "challenger"))
        with service.client() as client:
            gone = reload(client).json()
            missing = client.post("/predict_ctr?model_name=xgboost", json=REQUEST)
            health = client.get("/monitoring/health").json()
            counted = total(client, "ctr_requests_total", model="xgboost")

    assert running.failed == []
    assert {"challenger": None}.items() <= {
        model["model_name"]: model["previous_version"] for model in came["loaded"]
    }.items()
    assert baseline["model_version"] == challenger.version
    assert gone["dropped"] == ["xgboost"]
    assert missing.status_code == 404
    assert set(health["models"]) == {"challenger", "logistic"}
    assert counted > 0  # until the next start
