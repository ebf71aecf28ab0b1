"""Who may change what, and what the service does with clients that are too slow, large or many."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from exposition import total
from service_process import Service, running_service

TOKEN = "a-token-of-more-than-16-characters"  # noqa: S105 - of this test alone
AD = {
    "user_id": "u1",
    "ad_id": "a1",
    "device": "mobile",
    "placement": "header",
    "hour": 14,
    "day_of_week": 0,
}
BASELINE = {
    "model_name": "xgboost",
    "mean_prediction": 0.04,
    "std_prediction": 0.02,
    "mean_latency_ms": 1.0,
    "std_latency_ms": 0.5,
    "observations": 1000,
}
CHANGES: list[tuple[str, object]] = [
    ("/feedback", {"events": [{"prediction_id": "x", "clicked": True}]}),
    ("/monitoring/baseline", BASELINE),
    ("/monitoring/baseline/xgboost/capture?window=1h", None),
    ("/models/reload", None),
    ("/models/rollback", {"model_name": "xgboost"}),
]
REFUSED = {401, 403}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("guarded") / "var"
    env = {"CTR_API_TOKEN": TOKEN, "CTR_MAX_CONCURRENCY": "2"}
    with running_service(folder, models_dir, env=env) as up:
        yield up


@pytest.fixture(scope="module")
def open_to_others(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Service]:
    """Listens on every address without a token; asked from this machine all the same."""
    folder = tmp_path_factory.mktemp("open") / "var"
    with running_service(folder, models_dir, env={"CTR_HOST": "0.0.0.0"}) as up:  # noqa: S104
        yield up


def change(
    service: Service, path: str, body: object, headers: dict[str, str] | None = None
) -> httpx.Response:
    with service.client() as client:
        return client.post(path, json=body, headers=headers)


@pytest.mark.parametrize(("path", "body"), CHANGES)
@pytest.mark.parametrize("shown", [None, "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}"])
def test_nothing_changes_without_the_right_token(
    guarded: Service, path: str, body: object, shown: str | None
) -> None:
    answer = change(guarded, path, body, None if shown is None else {"Authorization": shown})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "CTR_API_TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize(("path", "body"), CHANGES)
def test_the_token_lets_every_change_through(guarded: Service, path: str, body: object) -> None:
    answer = change(guarded, path, body, {"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code not in REFUSED


def test_a_refused_baseline_leaves_the_one_in_force(guarded: Service) -> None:
    with guarded.client() as client:
        before = client.get("/monitoring/baseline/xgboost").json()
        client.post("/monitoring/baseline", json={**BASELINE, "mean_prediction": 0.9})
        assert client.get("/monitoring/baseline/xgboost").json() == before


def test_asking_and_predicting_need_no_token(guarded: Service) -> None:
    with guarded.client() as client:
        assert client.post("/predict_ctr", json=AD).status_code == 200
        assert client.get("/monitoring/health").status_code == 200
        assert client.get("/metrics").status_code == 200


def test_refusals_are_counted(guarded: Service) -> None:
    with guarded.client() as client:
        before = total(client, "ctr_rejected_requests_total", missing=0.0, reason="unauthorized")
        client.post("/models/reload")
        after = total(client, "ctr_rejected_requests_total", reason="unauthorized")
    assert after == before + 1


def test_every_change_in_the_document_is_guarded(guarded: Service) -> None:
    with guarded.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    changing = {
        path: methods["post"]
        for path, methods in paths.items()
        if "post" in methods and not path.startswith("/predict_ctr")
    }

    assert len(changing) == len(CHANGES)
    for operation in changing.values():
        assert operation["security"]
        assert set(map(int, operation["responses"])) >= REFUSED


@pytest.mark.parametrize(("path", "body"), CHANGES)
def test_beyond_loopback_nothing_changes_without_a_token(
    open_to_others: Service, path: str, body: object
) -> None:
    answer = change(open_to_others, path, body)

    assert answer.status_code == 403
    assert "CTR_API_TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.example:8000"},
        {"Host": "re_bound.example"},  # no name by the rules, which browsers ask for all the same
        {"Host": "rebound.example@localhost"},
        {"Host": "["},
        {"Origin": "https://other.example"},  # from browsers without Sec-Fetch-Site
        {"Origin": "null"},
    ],
)
def test_on_loopback_another_sites_page_changes_nothing(
    service: Service, headers: dict[str, str]
) -> None:
    assert change(service, "/models/reload", None, headers).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "LOCALHOST", "[::1]:8000"])
def test_on_loopback_programs_of_this_machine_may_change(service: Service, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    answer = change(service, "/models/reload", None, headers)

    assert answer.status_code not in REFUSED


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    address = httpx.URL(service.url)
    with socket.create_connection((address.host, address.port), timeout=30) as opened:
        yield opened


def test_a_head_that_does_not_end_is_cut_off(service: Service) -> None:
    with connected(service) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall((b"x: " + b"y" * 1000 + b"\r\n") * 100_000)


def test_an_address_that_nobody_would_write_is_refused(service: Service) -> None:
    with service.client() as client:
        answer = client.get("/monitoring/stats", params={"model_name": "x" * 9000})

        assert answer.status_code == 414
        assert len(answer.content) < 500


def test_who_comes_on_top_is_told_to_come_again_and_nobody_before_is_lost(
    guarded: Service,
) -> None:
    body = json.dumps({"requests": [AD] * 1000}).encode()
    answers: list[httpx.Response] = []

    def ask() -> None:
        with guarded.client() as client:
            answers.extend(
                client.post(
                    "/predict_ctr/batch", content=body, headers={"Content-Type": "application/json"}
                )
                for _ in range(10)
            )

    with guarded.client() as client:
        before = total(client, "ctr_prediction_ratio_count", missing=0.0)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    answered = [a for a in answers if a.status_code == 200]
    refused = [a for a in answers if a.status_code == 503]
    assert len(answered) + len(refused) == 80
    assert refused
    assert all(a.headers["retry-after"] == "1" for a in refused)
    assert all(a.headers["x-request-id"] == a.json()["request_id"] for a in refused)
    with guarded.client() as client:
        assert total(client, "ctr_prediction_ratio_count") - before == 1000 * len(answered)
        assert total(client, "ctr_rejected_requests_total", reason="overloaded") == len(refused)
        # An overloaded service is alive, and answers at once when the load is gone.
        assert client.post("/predict_ctr", json=AD).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/metrics", "/monitoring/health", "/nowhere"]
)
def test_no_browser_may_frame_or_guess_an_answer(service: Service, path: str) -> None:
    with service.client() as client:
        headers = client.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
