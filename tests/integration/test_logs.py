"""What real processes say: in one form, with the id of the request, and without a secret."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from ports import free_port
from prometheus_server import wait_until
from service_process import ROOT, Service, running_service

pytestmark = pytest.mark.integration

VALID = {
    "user_id": "user_1",
    "ad_id": "ad_2",
    "device": "mobile",
    "placement": "header",
    "hour": 14,
    "day_of_week": 0,
}
GENERATED = re.compile(r"[0-9a-f]{16}")


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def records(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/monitoring/health"),
        ("GET", "/nowhere"),
        ("GET", "/predict_ctr"),
        ("POST", "/predict_ctr?model_name=nobody"),
        ("POST", "/models/reload/"),
        ("HEAD", "/healthz"),
    ],
)
def test_an_answer_bears_the_clients_id_or_one_of_its_own(
    client: httpx.Client, method: str, path: str
) -> None:
    given = client.request(method, path, headers={"X-Request-ID": "trace-1:a.b/c=+_"})
    names = {client.request(method, path).headers["x-request-id"] for _ in range(2)}

    assert given.headers.get_list("x-request-id") == ["trace-1:a.b/c=+_"]
    assert len(names) == 2
    assert all(GENERATED.fullmatch(name) for name in names)


@pytest.mark.parametrize("params", [None, {"off": "the fast lane"}])
@pytest.mark.parametrize(
    ("path", "body"), [("/predict_ctr", VALID), ("/predict_ctr/batch", {"requests": [VALID]})]
)
def test_a_prediction_has_its_own_id_and_the_clients_where_one_was_given(
    client: httpx.Client, path: str, body: object, params: dict[str, str] | None
) -> None:
    plain = client.post(path, json=body, params=params)
    given = client.post(path, json=body, params=params, headers={"X-Request-ID": "mine"})
    no_token = client.post(path, json=body, params=params, headers={"X-Request-ID": "no token"})

    assert [answer.status_code for answer in (plain, given, no_token)] == [200, 200, 200]
    assert given.headers["x-request-id"] == "mine"
    assert "x-request-id" not in {*plain.headers, *no_token.headers}


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{", "application/json"),
        (json.dumps({**VALID, "hour": 24}).encode(), "application/json"),
        (b"x", "text/plain"),
        (b"1" * 100_000, "application/json"),
    ],
)
def test_an_error_names_its_request_in_header_and_body(
    client: httpx.Client, content: bytes, content_type: str
) -> None:
    for given in ({}, {"X-Request-ID": "mine"}):
        answer = client.post(
            "/predict_ctr", content=content, headers={"content-type": content_type, **given}
        )

        name = answer.headers["x-request-id"]
        assert answer.status_code >= 400
        assert answer.json()["request_id"] == name
        assert name == given.get("X-Request-ID", name)
        assert given or GENERATED.fullmatch(name)


def test_the_document_describes_the_id_of_an_error(client: httpx.Client) -> None:
    problem = client.get("/openapi.json").json()["components"]["schemas"]["Problem"]

    assert "X-Request-ID" in problem["properties"]["request_id"]["description"]
    assert "request_id" not in problem["required"]


FAILING_MODEL = """
import sys
from pathlib import Path
from service.prediction.model_kinds import XGBoostModel

predict = XGBoostModel.predict

def fail(*arguments):
    if Path("axe").exists():
        raise RuntimeError("the trees\\nhave fallen")
    return predict(*arguments)

XGBoostModel.predict = fail
from service.launcher import RUN_API
sys.exit(RUN_API.main())
"""


def test_the_log_names_the_request_whose_model_failed(tmp_path: Path, models_dir: Path) -> None:
    """A model whose code fails; the second request is one of the same streak."""
    log = tmp_path / "log"
    port = free_port()
    command = [
        *(sys.executable, "-c", FAILING_MODEL, "--port", str(port)),
        *("--models-dir", str(models_dir), "--state-dir", str(tmp_path / "state")),
    ]
    with log.open("w") as opened:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={
                **os.environ,
                "CTR_BRIDGE_ENABLED": "false",
                "CTR_LOG_FORMAT": "json",
                "PYTHONPATH": str(ROOT),
            },
            stdout=opened,
            stderr=opened,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: "serving" in log.read_text(), seconds=30, what="it serves")
        (tmp_path / "axe").touch()
        with httpx.Client(base_url=url, timeout=30) as client:
            answers = [
                client.post(
                    "/predict_ctr", json=VALID, headers={"X-Request-ID": f"number-{number}"}
                )
                for number in (1, 2)
            ]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)

    assert [answer.status_code for answer in answers] == [500, 500]
    assert [a.json()["request_id"] for a in answers] == ["number-1", "number-2"]
    # The banner too: with CTR_LOG_FORMAT=json every line is a record.
    first, *others = records(log.read_text())
    assert first["message"].startswith("serving ")
    [failed] = [record for record in others if "fails" in record["message"]]
    assert failed["request_id"] == "number-1"
    assert (failed["level"], failed["logger"]) == ("error", "service.prediction.turn")
    assert "RuntimeError: the trees\nhave fallen" in failed["exception"]


def test_on_a_terminal_it_is_text(tmp_path: Path, models_dir: Path) -> None:
    ours, terminal = os.openpty()
    env = {**os.environ, "CTR_BRIDGE_ENABLED": "false"}
    flags = ["--port", "0", "--models-dir", str(models_dir), "--state-dir", str(tmp_path / "s")]
    process = subprocess.Popen(
        [sys.executable, "scripts/run_api.py", "--workers", "2", *flags],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    told = ""
    try:
        while "Started parent process" not in told:
            told += os.read(ours, 4096).decode()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        os.close(ours)

    [line] = [line for line in told.splitlines() if "Started parent process" in line]
    assert re.match(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO +"
        rf"service\[{process.pid}\] uvicorn.error: Started",
        line,
    )


PASSWORD = "Hush%2F+hush#1"  # noqa: S105 - made up


def with_secrets(**addresses: str) -> Mapping[str, str]:
    """Secrets wherever one can be configured; nothing answers at the addresses."""
    nobody = f"127.0.0.1:{free_port()}"
    pair = f"somebody:{quote(PASSWORD, safe='')}"
    everything = {
        "CTR_SIGNING_KEY": "KEY-" + 40 * "k",
        "CTR_API_TOKEN": "TOKEN-of-the-api-" + 40 * "t",
        "CTR_SIGNING_KEY_BEFORE": "KEY-" + 40 * "l",
        "CTR_STATE_URL": f"postgresql://{pair}@{nobody}/ctr?connect_timeout=1",
        "CTR_MONITORING_SOURCE": "prometheus",
        "CTR_PROMETHEUS_URL": f"http://{pair}@{nobody}",
        "MLFLOW_TRACKING_URI": f"http://{pair}@{nobody}",
        "MLFLOW_TRACKING_PASSWORD": "MLFLOW-password",
        "MLFLOW_TRACKING_TOKEN": "MLFLOW-token",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        **addresses,
    }
    return {name: value for name, value in everything.items() if value}


def leaks(said: str) -> list[str]:
    hidden = (
        PASSWORD,
        quote(PASSWORD, safe=""),
        "Hush",
        "kkkkkkkk",
        "llllllll",
        "tttttttt",
        "MLFLOW-",
    )
    return [secret for secret in hidden if secret.lower() in said.lower()]


RUN_API = str(ROOT / "scripts/run_api.py")
COMMANDS: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "no database": ((RUN_API, "--port", "0"), {}),
    "a short key": ((RUN_API, "--port", "0"), {"CTR_SIGNING_KEY": "SHORT-kkkkkkkk"}),
    "another database": ((RUN_API,), {"CTR_STATE_URL": f"mysql://me:{PASSWORD}@host/x"}),
    "no URL": ((RUN_API,), {"CTR_STATE_URL": f"postgresql://me:{PASSWORD}@host:port/x"}),
    "doctor, no database": (("-m", "bridge", "doctor"), {}),
    "doctor, no MLflow": (("-m", "bridge", "doctor", "--json"), {"CTR_STATE_URL": ""}),
    "send, no MLflow": (("-m", "bridge", "send"), {"CTR_STATE_URL": ""}),
    "send, no URI": (("-m", "bridge", "send"), {"MLFLOW_TRACKING_URI": f"x://me:{PASSWORD}@host"}),
    "archive, no MLflow": (
        ("-m", "bridge", "archive", "--older-than", "1", "--output", "archive"),
        {"CTR_STATE_URL": "", "CTR_LOG_LEVEL": "debug"},
    ),
    "restore": (
        ("-m", "bridge", "restore", "--from", ".", "--to", f"postgresql://a:{PASSWORD}@h/x"),
        {},
    ),
    "replay, no database": (("-m", "service", "replay", "--since", "2026-01-01"), {}),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Mapping[str, str]:
    """What each command has told, with its exit status; all run at the same time."""
    running = {}
    for name, (command, changed) in COMMANDS.items():
        settings = {
            **with_secrets(**changed),
            "CTR_MODELS_DIR": str(models_dir),
            "PYTHONPATH": str(ROOT),
        }
        running[name] = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path_factory.mktemp("command"),
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    told = {name: process.communicate(timeout=180)[0] for name, process in running.items()}
    assert {process.returncode for process in running.values()} == {1, 2}
    return told


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_tells_a_secret(ended: Mapping[str, str], name: str) -> None:
    assert ended[name].strip()
    assert "Traceback" not in ended[name]
    assert leaks(ended[name]) == []


def test_no_process_of_a_service_tells_a_secret(tmp_path: Path, models_dir: Path) -> None:
    """Everything it depends on is away: the bridge, the ticker and the answers say so."""
    env = with_secrets(CTR_STATE_URL="")
    settings = {
        "CTR_BRIDGE_ENABLED": "true",
        "CTR_LOG_LEVEL": "debug",
        "CTR_SNAPSHOT_INTERVAL": "1",
    }
    with (
        running_service(
            tmp_path / "state", models_dir, env={**env, **settings}, workers=2, cwd=tmp_path
        ) as service,
        service.client() as client,
    ):
        wait_until(
            lambda: {"bridge", "worker"} <= {r["process"] for r in records(service.log())},
            seconds=60,
            what="the bridge and a worker say what they miss",
        )
        answers = [
            client.get(path)
            for path in (
                *("/monitoring/health", "/monitoring/mlflow", "/monitoring/stats"),
                *("/monitoring/drift/xgboost", "/monitoring/quality/xgboost", "/metrics", "/"),
                *("/openapi.json", "/monitoring/health?scope=instance"),
            )
        ]
        forged = '\n{"level": "error"}\x1b[31m'
        client.get(f"/{quote(forged)}", headers={"X-Request-ID": "not a token"})
        client.post("/predict_ctr", params={"model_name": forged}, json=VALID)

    log = service.log()
    said = [answer.text for answer in answers]
    away = {a.headers["x-request-id"] for a in answers if a.status_code == 503}
    told = [record for record in records(log) if record["message"].startswith("answered 503")]
    # Each worker tells of the first.
    assert 1 <= len(told) <= 2
    assert {record["request_id"] for record in told} <= away
    assert any(record["level"] == "warning" for record in records(log))
    assert leaks(log + "".join(said)) == []
    assert all(record["time"].endswith("Z") for record in records(log))
