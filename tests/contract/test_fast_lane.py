"""The fast lane and the documented endpoints are one contract: the same question, the same answer.

A query takes a request off the fast lane, and one that no endpoint knows changes nothing else.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from exposition import counted
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from service_process import Service
from starlette.types import Message, Receive, Scope, Send

from service.api.body_gate import ArrivedBody
from service.api.fast_lane import FastLane
from service.api.schemas import BatchAnswerBody, PredictionBody
from service.monitoring.catalogue import ErrorType
from service.prediction.ad_request import AdRequest
from service.prediction.prediction_id import PredictionId
from service.prediction.signing_keys import signing_key
from service.prediction.turn import ModelFailedError, Prediction, Render

DOCUMENTED = {"off": "the fast lane"}
JSON = {"content-type": "application/json"}
VALID: dict[str, Any] = {
    "user_id": "user_1",
    "ad_id": "ad_2",
    "device": "mobile",
    "placement": "header",
    "hour": 14,
    "day_of_week": 0,
}

texts = st.text(min_size=0, max_size=300)
wrong = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.lists(st.integers(), max_size=2),
    st.just({}),
)
rows = st.builds(
    lambda texts, hour, day: {**dict(zip(VALID, texts, strict=False)), **hour, **day},
    st.lists(st.text(min_size=1, max_size=20), min_size=4, max_size=4),
    st.builds(lambda hour: {"hour": hour}, st.integers(0, 23)),
    st.builds(lambda day: {"day_of_week": day}, st.integers(0, 6)),
)
damaged_rows = st.builds(
    lambda row, field, value, drop: {
        name: value if name == field else held
        for name, held in [*row.items(), ("extra", value)]
        if (name != "extra" or field == "extra") and not (drop and name == field)
    },
    rows,
    st.sampled_from([*VALID, "extra"]),
    wrong,
    st.booleans(),
)
bodies = st.one_of(
    rows.map(json.dumps).map(str.encode),
    rows.map(lambda row: json.dumps(row, ensure_ascii=False, indent=1).encode()),
    damaged_rows.map(json.dumps).map(str.encode),
    st.binary(max_size=60),
    st.builds(
        lambda row, at, byte: json.dumps(row).encode()[:at] + byte + json.dumps(row).encode()[at:],
        rows,
        st.integers(0, 150),
        st.binary(min_size=1, max_size=2),
    ),
)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def key(service: Service) -> bytes:
    return signing_key(None, service.state_dir / "signing.key")


def answers(
    client: httpx.Client, path: str, body: bytes, headers: dict[str, str]
) -> list[httpx.Response]:
    return [
        client.post(path, content=body, headers=headers, params=params)
        for params in (None, DOCUMENTED)
    ]


def comparable(response: httpx.Response, key: bytes) -> object:
    """What must not depend on the way that was taken; time and dice do."""
    content = response.json()
    for row in content.get("predictions", [content]):
        if "prediction_id" in row:
            identity = PredictionId.verified(row["prediction_id"], key).identity
            row["prediction_id"] = identity._replace(nonce=b"", milliseconds=0)
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in {"date", "content-length"}
    }
    assert int(response.headers["content-length"]) == len(response.content)
    if "request_id" in content:
        assert content.pop("request_id") == headers.pop("x-request-id")
    latency = content.pop("latency_ms", 1.0)
    assert latency > 0
    return response.status_code, list(headers.items()), content


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b"")
@example(b"null")
@example(json.dumps({**VALID, "hour": 14.0}).encode())
@example(json.dumps({**VALID, "hour": "14"}).encode())
@example(json.dumps({**VALID, "hour": True}).encode())
@example(json.dumps(VALID).replace("14", "1e1").encode())
@example(json.dumps(VALID).replace("14", "014").encode())
@example(json.dumps(VALID).replace("14", "-0").encode())
@example(json.dumps(VALID).replace("14", "9" * 5000).encode())
@example(json.dumps(VALID).replace("14", "NaN").encode())
@example(json.dumps(VALID).replace("14", "[" * 10_000).encode())
@example(json.dumps(VALID).replace("user_1", r"\ud800").encode())
@example(json.dumps(VALID).replace("user_1", r"\ud83d\ude00").encode())
@example(json.dumps(VALID).replace("user_1", r"\u0000").encode())
@example(json.dumps(VALID).replace("user_1", "a\tb").encode())
@example(json.dumps(VALID).replace("user_1", "\x7f").encode())
@example(json.dumps(VALID).encode("utf-16"))
@example(json.dumps(VALID).encode("utf-8-sig"))
@example(json.dumps(VALID).encode() + b"\n \t")
@example(json.dumps(VALID).encode() + b"{}")
@example(json.dumps(VALID).encode() + b"\x00")
@example(json.dumps(VALID).encode().replace(b"user_id", b"\x80user_id"))
@example(json.dumps(VALID).encode().replace(b"user_1", b"\x80"))
@example(b'{"hour":3,' + json.dumps(VALID)[1:].encode())
@example(json.dumps(VALID)[:-1].encode() + b',"hour":3}')
@example(json.dumps(VALID)[:-1].encode() + b',"hour":33}')
@given(bodies)
def test_a_body_gets_the_same_answer_either_way(
    client: httpx.Client, key: bytes, body: bytes
) -> None:
    fast, documented = answers(client, "/predict_ctr", body, JSON)

    assert comparable(fast, key) == comparable(documented, key)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([])
@example([VALID] * 1001)
@example([{**VALID, "user_id": f"user_{i}"} for i in range(1000)])
@given(st.lists(st.one_of(rows, rows, rows, damaged_rows), max_size=6))
def test_a_batch_gets_the_same_answer_either_way(
    client: httpx.Client, key: bytes, batch: list[dict[str, Any]]
) -> None:
    body = json.dumps({"requests": batch}).encode()
    fast, documented = answers(client, "/predict_ctr/batch", body, JSON)

    assert comparable(fast, key) == comparable(documented, key)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "APPLICATION/JSON"},
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "application/json", "accept": "text/html"},
        {"content-type": "application/json", "x-http-method-override": "DELETE"},
    ],
)
def test_headers_get_the_same_answer_either_way(
    client: httpx.Client, key: bytes, headers: dict[str, str]
) -> None:
    fast, documented = answers(client, "/predict_ctr", json.dumps(VALID).encode(), headers)

    assert comparable(fast, key) == comparable(documented, key)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_methods_get_the_same_answer_either_way(client: httpx.Client, method: str) -> None:
    fast, documented = (
        client.request(
            method, "/predict_ctr", json=VALID, params=params, headers={"x-request-id": "one"}
        )
        for params in (None, DOCUMENTED)
    )

    assert fast.status_code == documented.status_code == 405
    assert fast.content == documented.content


def test_both_ways_are_counted_in_the_same_series(client: httpx.Client) -> None:
    body = json.dumps({"requests": [VALID] * 300}).encode()

    def added(params: dict[str, str] | None) -> dict[Any, float]:
        before = counted(client)
        for content, path in ((json.dumps(VALID).encode(), ""), (body, "/batch")):
            client.post(f"/predict_ctr{path}", content=content, headers=JSON, params=params)
        client.post("/predict_ctr", content=b"{", headers=JSON, params=params)
        after = counted(client)
        return {
            series: after[series] - before.get(series, 0.0)
            for series in after
            if "duration" not in series[0] and after[series] != before.get(series, 0.0)
        }

    added(DOCUMENTED)  # the gauges of the last answer are then as they will be
    fast, documented = added(None), added(DOCUMENTED)

    assert fast == pytest.approx(documented, rel=1e-9)
    assert sum(n for (name, _), n in fast.items() if name == "ctr_requests_total") >= 2


class OnlyHour:
    """A predictor that answers the hour, fails at 13 and has a defect at 15."""

    async def answer(
        self,
        requests: list[AdRequest],
        *,
        model_name: None,
        arrived: float,
        render: Render,
        request: Scope,
    ) -> bytes:
        del model_name, request
        if requests[0].hour == 13:
            raise ModelFailedError("m", ErrorType.EXCEPTION)
        if requests[0].hour == 15:
            raise ZeroDivisionError("a defect of ours")
        predictions = [Prediction("id", one.hour / 100, "m", "v") for one in requests]
        return render(predictions, (time.perf_counter() - arrived) * 1000)


def through_the_lane(path: str, body: bytes, query: bytes = b"") -> tuple[list[Message], int]:
    """What the lane sends itself, and how often it asks the app behind it."""
    sent: list[Message] = []
    passed_on = 0

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        nonlocal passed_on
        passed_on += 1

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("the body has been read")

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": query,
        "headers": [],
        "ctr.body": ArrivedBody(body, time.perf_counter()),
    }
    lane = FastLane(behind, predictor=OnlyHour())  # type: ignore[arg-type]
    with suppress(ZeroDivisionError):  # for uvicorn, which logs it
        asyncio.run(lane(scope, receive, send))
    return sent, passed_on


@pytest.mark.parametrize(
    ("path", "content", "form"),
    [
        ("/predict_ctr", VALID, PredictionBody),
        ("/predict_ctr/batch", {"requests": [VALID, VALID]}, BatchAnswerBody),
    ],
)
def test_valid_bodies_take_the_lane_and_get_the_documented_form(
    path: str, content: object, form: type[BaseModel]
) -> None:
    [start, body], passed_on = through_the_lane(path, json.dumps(content).encode())

    assert passed_on == 0
    assert start["status"] == 200
    answer = form.model_validate_json(body["body"], strict=True, extra="forbid")
    written = json.loads(body["body"])
    assert json.loads(answer.model_dump_json()) == written
    said = {"prediction_id": "id", "predicted_ctr": 0.14, "model_name": "m", "model_version": "v"}
    assert all(said.items() <= row.items() for row in written.get("predictions", [written]))


def test_what_is_not_usual_is_left_to_the_documented_endpoint() -> None:
    valid = json.dumps(VALID).encode()

    assert through_the_lane("/predict_ctr", b"{") == ([], 1)
    assert through_the_lane("/predict_ctr", valid, b"model_name=m") == ([], 1)
    assert through_the_lane("/feedback", valid) == ([], 1)


def test_a_failing_model_gets_the_documented_error() -> None:
    [start, body], passed_on = through_the_lane(
        "/predict_ctr", json.dumps({**VALID, "hour": 13}).encode()
    )

    assert passed_on == 0
    assert start["status"] == 500
    assert json.loads(body["body"])["detail"] == "the model 'm' failed: exception"


def test_a_defect_is_answered_too() -> None:
    [start, body], _ = through_the_lane("/predict_ctr", json.dumps({**VALID, "hour": 15}).encode())

    assert start["status"] == 500
    assert json.loads(body["body"])["detail"] == "the service failed; its log says why"
