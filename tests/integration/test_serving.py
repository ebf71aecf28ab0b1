"""The running service, asked as its users ask it."""

import json
import math
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from exposition import counted, samples, total
from service_process import Service

REQUEST = {
    "user_id": "user_123",
    "ad_id": "ad_456",
    "device": "mobile",
    "placement": "header",
    "hour": 14,
    "day_of_week": 0,
}
pytestmark = pytest.mark.integration

TYPE = {"Content-Type": "application/json"}


def test_a_prediction_has_the_fields_of_the_contract(service: Service) -> None:
    with service.client() as client:
        answer = client.post("/predict_ctr", json=REQUEST)

    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {
        "prediction_id",
        "predicted_ctr",
        "model_name",
        "model_version",
        "latency_ms",
    }
    assert 0 < body["predicted_ctr"] < 1
    assert body["latency_ms"] > 0


def test_a_batch_scores_each_row_as_a_single_request_does(service: Service) -> None:
    rows = [REQUEST | {"user_id": f"u{i}", "hour": i % 24} for i in range(100)]

    with service.client() as client:
        batch = client.post("/predict_ctr/batch", json={"requests": rows}).json()
        single = [client.post("/predict_ctr", json=row).json() for row in rows]

    keys = ("predicted_ctr", "model_name", "model_version")
    assert [[p[k] for k in keys] for p in batch["predictions"]] == [
        [p[k] for k in keys] for p in single
    ]
    assert {p["model_name"] for p in single} == {"xgboost", "logistic"}


def test_concurrent_requests_get_their_own_answers(service: Service) -> None:
    rows = [REQUEST | {"user_id": f"u{i}", "hour": i % 24} for i in range(200)]

    def ask(row: dict[str, object]) -> float:
        return float(client.post("/predict_ctr", json=row).json()["predicted_ctr"])

    with service.client() as client, ThreadPoolExecutor(16) as pool:
        alone = [ask(row) for row in rows]
        together = list(pool.map(ask, rows))

    assert together == alone


@pytest.mark.parametrize("model", ["xgboost", "logistic"])
def test_the_query_overrides_the_assignment(service: Service, model: str) -> None:
    with service.client() as client:
        for user in range(20):
            row = REQUEST | {"user_id": f"u{user}"}
            answer = client.post("/predict_ctr", params={"model_name": model}, json=row)
            assert answer.json()["model_name"] == model


def test_every_prediction_is_counted_once_everywhere(service: Service) -> None:
    row = REQUEST | {"device": "never seen", "hour": 3}
    with service.client() as client:
        before = samples(client)
        scores = []
        for _ in range(7):
            answer = client.post("/predict_ctr", params={"model_name": "xgboost"}, json=row)
            scores.append(answer.json()["predicted_ctr"])
        batch = client.post(
            "/predict_ctr/batch", params={"model_name": "xgboost"}, json={"requests": [row] * 50}
        )
        scores += [p["predicted_ctr"] for p in batch.json()["predictions"]]
        after = samples(client)

    def growth(name: str, **labels: str) -> float:
        return math.fsum(
            value - before.get((sample, found), 0)
            for (sample, found), value in after.items()
            if sample == name and ({"model": "xgboost"} | labels).items() <= dict(found).items()
        )

    assert growth("ctr_requests_total", outcome="success") == 8
    assert growth("ctr_requests_total", outcome="error") == 0
    assert growth("ctr_request_duration_seconds_count") == 8
    assert growth("ctr_prediction_ratio_count") == 57
    assert growth("ctr_prediction_ratio_sum") == pytest.approx(math.fsum(scores), rel=1e-12)
    assert growth("ctr_prediction_ratio_squared_total") == pytest.approx(
        math.fsum(s * s for s in scores), rel=1e-12
    )
    assert growth("ctr_feature_values_total", feature="hour", value="3") == 57
    assert growth("ctr_feature_values_total", feature="device", value="(unseen)") == 57
    assert growth("ctr_feature_values_total", feature="device") == 57
    last = [v for (name, _), v in after.items() if name == "ctr_prediction_ratio_last"]
    assert scores[-1] in last
    assert growth("ctr_requests_in_progress") == 0


def test_the_answer_s_latency_is_the_one_recorded(service: Service) -> None:
    with service.client() as client:
        before = total(client, "ctr_request_duration_seconds_sum", model="logistic")
        answers = [
            client.post("/predict_ctr", params={"model_name": "logistic"}, json=REQUEST).json()
            for _ in range(10)
        ]
        after = total(client, "ctr_request_duration_seconds_sum", model="logistic")

    seconds = math.fsum(answer["latency_ms"] for answer in answers) / 1000
    assert after - before == pytest.approx(seconds, rel=1e-9)


BAD_REQUESTS = {
    "missing field": (json.dumps({k: v for k, v in REQUEST.items() if k != "hour"}), "hour"),
    "hour 24": (json.dumps(REQUEST | {"hour": 24}), "hour"),
    "hour -1": (json.dumps(REQUEST | {"hour": -1}), "hour"),
    "day 7": (json.dumps(REQUEST | {"day_of_week": 7}), "day_of_week"),
    "hour as text": (json.dumps(REQUEST | {"hour": "14"}), "hour"),
    "hour NaN": (json.dumps(REQUEST | {"hour": math.nan}), "hour"),
    "hour true": (json.dumps(REQUEST | {"hour": True}), "hour"),
    "number as id": (json.dumps(REQUEST | {"user_id": 7}), "user_id"),
    "null id": (json.dumps(REQUEST | {"ad_id": None}), "ad_id"),
    "empty id": (json.dumps(REQUEST | {"ad_id": ""}), "ad_id"),
    "huge id": (json.dumps(REQUEST | {"ad_id": "a" * 10_000}), "ad_id"),
    "lone surrogate": (json.dumps(REQUEST | {"user_id": "\ud800"}), "user_id"),
    "unknown field": (json.dumps(REQUEST | {"hours": 3}), "hours"),
    "a list": ("[]", "body"),
    "broken JSON": ('{"user_id": ', "body"),
    "empty": ("", "body"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_body_is_refused_with_its_field_named(service: Service, name: str) -> None:
    content, field = BAD_REQUESTS[name]
    with service.client() as client:
        before = counted(client)
        answer = client.post("/predict_ctr", content=content, headers=TYPE)
        after = counted(client)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert field in {error["field"] for error in problem["errors"]}
    assert problem["status"] == 422
    assert before.keys() == after.keys()
    changed = {key[0] for key in after if after[key] != before[key]}
    assert changed == {"ctr_rejected_requests_total"}


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"[" * 50_000, 422), (b"\xff\xfe{}", 422), (b"{" + b" " * 10**7, 413)],
    ids=["deeply nested", "not UTF-8", "ten megabytes"],
)
def test_hostile_bodies_are_the_client_s_error(
    service: Service, content: bytes, status: int
) -> None:
    with service.client() as client:
        before = total(client, "ctr_rejected_requests_total")
        answer = client.post("/predict_ctr", content=content, headers=TYPE)
        after = total(client, "ctr_rejected_requests_total")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert after == before + 1


@pytest.mark.parametrize("path", ["/predict_ctr", "/predict_ctr/batch", "/monitoring/baseline"])
def test_a_body_of_a_thousand_errors_gets_a_small_answer(service: Service, path: str) -> None:
    row = REQUEST | {f"x{i}": 0 for i in range(2_000)}
    body = {"requests": [row] * 100} if path.endswith("batch") else row
    with service.client() as client:
        answer = client.post(path, json=body)

    assert answer.status_code == 422
    assert len(answer.content) < 8_192
    assert answer.json()["errors"][0]["field"].startswith(("x", "requests.0.x", "model_name"))


def test_a_form_is_refused_as_the_wrong_media_type(service: Service) -> None:
    with service.client() as client:
        answer = client.post("/predict_ctr", data={"user_id": "a"})

    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_an_unknown_model_is_not_found_and_makes_no_series(service: Service) -> None:
    with service.client() as client:
        before = counted(client)
        answer = client.post("/predict_ctr", params={"model_name": "no_such"}, json=REQUEST)
        after = counted(client)

    assert answer.status_code == 404
    assert "xgboost" in answer.json()["detail"]
    assert before.keys() == after.keys()


def test_one_bad_row_refuses_the_whole_batch(service: Service) -> None:
    rows = [REQUEST, REQUEST | {"hour": 24}, REQUEST]
    with service.client() as client:
        before = total(client, "ctr_prediction_ratio_count")
        answer = client.post("/predict_ctr/batch", json={"requests": rows})
        after = total(client, "ctr_prediction_ratio_count")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "requests.1.hour"
    assert after == before


@pytest.mark.parametrize("size", [0, 1001])
def test_a_batch_has_1_to_1000_rows(service: Service, size: int) -> None:
    with service.client() as client:
        answer = client.post("/predict_ctr/batch", json={"requests": [REQUEST] * size})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "requests"


def test_unknown_paths_and_methods_are_problems_too(service: Service) -> None:
    with service.client() as client:
        missing, wrong = client.get("/nothing"), client.get("/predict_ctr")

    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.headers["content-type"] == "application/problem+json"
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/redoc", "/openapi.json"])
def test_the_pages_of_operations_answer(service: Service, path: str) -> None:
    with service.client() as client:
        assert client.get(path).status_code == 200


def test_ready_tells_what_scores_each_model_and_so_do_the_metrics(service: Service) -> None:
    with service.client() as client:
        ready = client.get("/readyz").json()
        infos = {
            (labels["model"], labels["version"], labels["evaluator"]): value
            for (name, pairs), value in samples(client).items()
            if name == "ctr_model_evaluator_info"
            for labels in (dict(pairs),)
        }

    assert ready["evaluators"] == {
        "xgboost": {"name": "forest", "fallback_reason": None},
        "logistic": {"name": "numpy", "fallback_reason": None},
    }
    assert infos == {
        (model, version, ready["evaluators"][model]["name"]): 1.0
        for model, version in ready["models"].items()
    }


def test_the_openapi_document_names_every_error(service: Service) -> None:
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]

    assert paths["/predict_ctr"]["post"]["responses"].keys() == {
        *("200", "404", "413", "414", "415", "422", "500", "503")
    }


def test_promtool_finds_nothing_wrong_with_the_metrics(
    service: Service, tool: Callable[[str, str], str]
) -> None:
    with service.client() as client:
        client.post("/predict_ctr", json=REQUEST)
        text = client.get("/metrics").text

    check = subprocess.run(
        [tool("promtool", "prometheus"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
