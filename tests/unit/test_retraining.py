"""The webhook that trains again: what it believes, and how often it trains."""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.retraining.challenge import Challenge, ExperimentFile, challenger_of
from deploy.retraining.payload import InvalidPayloadError, drifted_models
from deploy.retraining.receiver import Receiver
from deploy.retraining.training import Outcome, Training
from service.prediction.experiment import Experiment


def alert(model: str = "xgboost", **changes: object) -> dict[str, Any]:
    labels = {"alertname": "CtrDriftPersists", "model": model}
    return {"status": "firing", "labels": labels, **changes}


def message(*alerts: object, **changes: object) -> bytes:
    whole = {"version": "4", "status": "firing", "alerts": list(alerts), **changes}
    return json.dumps(whole).encode()


def test_only_firing_drift_that_persists_counts() -> None:
    body = message(
        alert("xgboost"),
        alert("logistic", status="resolved"),
        alert("other", labels={"alertname": "CtrDrift", "model": "other"}),
    )

    assert drifted_models(body) == {"xgboost"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"alerts": []}',
        message(version="3"),
        message(status="perhaps"),
        message(alerts={}),
        message("no object"),
        message(alert(status=None)),
        message(alert(labels=None)),
        message(alert(labels={"alertname": "CtrDriftPersists", "model": 7})),
        message(alert(labels={"alertname": "CtrDriftPersists"})),
        message(alert("$(reboot)")),
        message(alert("a,b")),
        message(alert("x" * 65)),
        message(alert("xgboost\n")),
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidPayloadError):
        drifted_models(body)


def noting(folder: Path, *, then: str = "pass") -> list[str]:
    """Command that notes for which models it ran."""
    code = (
        f"import os, time; note = open({str(folder / 'notes')!r}, 'a'); "
        f"print(os.environ['RETRAIN_MODELS'], file=note, flush=True); {then}"
    )
    return [sys.executable, "-c", code]


def notes(folder: Path) -> list[str]:
    path = folder / "notes"
    return path.read_text().splitlines() if path.exists() else []


def training(
    folder: Path,
    command: list[str],
    *,
    now: list[float] | None = None,
    challenge: Challenge | None = None,
) -> Training:
    times = now or [1000.0]
    return Training(
        command,
        lock=folder / "state/retraining.lock",
        cooldown_seconds=100,
        timeout_seconds=30,
        challenge=challenge,
        clock=lambda: times[0],
    )


def test_the_command_hears_which_models_drifted(tmp_path: Path) -> None:
    train = training(tmp_path, noting(tmp_path))

    assert train.request({"xgboost", "logistic"}) is Outcome.STARTED
    train.wait()

    assert notes(tmp_path) == ["logistic,xgboost"]


def test_no_drift_trains_nothing(tmp_path: Path) -> None:
    assert training(tmp_path, noting(tmp_path)).request(set()) is Outcome.NOTHING_TO_DO
    assert notes(tmp_path) == []


def test_a_clock_that_was_set_back_holds_up_no_training(tmp_path: Path) -> None:
    now = [1000.0]
    first = training(tmp_path, noting(tmp_path), now=now)
    assert first.request({"xgboost"}) is Outcome.STARTED
    first.wait()

    now[0] = 10.0
    assert first.request({"xgboost"}) is Outcome.STARTED
    first.wait()


def test_the_next_training_waits_for_the_cooldown_also_after_a_restart(tmp_path: Path) -> None:
    now = [1000.0]
    first = training(tmp_path, noting(tmp_path), now=now)
    assert first.request({"xgboost"}) is Outcome.STARTED
    first.wait()

    now[0] = 1099.0
    assert first.request({"xgboost"}) is Outcome.COOLING_DOWN
    second = training(tmp_path, noting(tmp_path), now=now)
    assert second.request({"xgboost"}) is Outcome.COOLING_DOWN
    now[0] = 1100.0
    assert second.request({"xgboost"}) is Outcome.STARTED
    second.wait()

    assert notes(tmp_path) == ["xgboost", "xgboost"]


def test_one_training_at_a_time_over_all_receivers(tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = noting(
        tmp_path,
        then=f"[time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(go)!r}), True)]",
    )
    now = [1000.0]
    first, second = (training(tmp_path, command, now=now) for _ in range(2))
    assert first.request({"xgboost"}) is Outcome.STARTED
    now[0] = 5000.0

    assert first.request({"logistic"}) is Outcome.BUSY
    assert second.request({"logistic"}) is Outcome.BUSY
    go.touch()
    first.wait()
    assert second.request({"logistic"}) is Outcome.STARTED
    second.wait()

    assert notes(tmp_path) == ["xgboost", "logistic"]


def test_a_command_that_fails_or_is_missing_does_not_block_the_next(tmp_path: Path) -> None:
    now = [1000.0]
    for command in (noting(tmp_path, then="raise SystemExit(3)"), ["/is/not/there"]):
        train = training(tmp_path, command, now=now)
        assert train.request({"xgboost"}) is Outcome.STARTED
        train.wait()
        now[0] += 100

    assert training(tmp_path, noting(tmp_path), now=now).request({"m"}) is Outcome.STARTED


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[httpx.Client]:
    train = training(tmp_path, noting(tmp_path))
    with Receiver(("127.0.0.1", 0), train, "secret") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            with httpx.Client(
                base_url=address, headers={"Authorization": "Bearer secret"}
            ) as client:
                yield client
        finally:
            server.shutdown()
            thread.join()
            train.wait()


def test_a_message_is_accepted_and_says_what_was_done(
    receiver: httpx.Client, tmp_path: Path
) -> None:
    answers = [receiver.post("/retrain", content=message(alert())) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == {"models": ["xgboost"], "training": "started"}
    assert answers[1].json()["training"] in {"busy", "cooling down"}
    assert len(notes(tmp_path)) <= 1


SHOWN = {"Authorization": "Bearer secret"}


@dataclass(frozen=True)
class Call:
    """A request, with headers that a well-behaved client would not send."""

    status: int
    content: bytes = message(alert())
    path: str = "/retrain"
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: SHOWN)


@pytest.mark.parametrize(
    "call",
    [
        Call(400, b"{}"),
        Call(404, path="/other"),
        Call(401, headers={}),
        Call(401, headers={"Authorization": "Bearer wrong"}),
        Call(401, headers={"Authorization": "Bearer s\u00e9cret"}),
        Call(413, b"", headers={**SHOWN, "Content-Length": "2000000"}),
        Call(411, b"", headers={**SHOWN, "Content-Length": "-1"}),
        Call(411, b"", headers={**SHOWN, "Content-Length": "many"}),
        Call(501, method="GET"),
    ],
)
def test_what_is_wrong_is_said_and_trains_nothing(
    receiver: httpx.Client, tmp_path: Path, call: Call
) -> None:
    host, port = receiver.base_url.host, receiver.base_url.port
    with closing(HTTPConnection(host, port, timeout=10)) as connection:
        connection.request(call.method, call.path, call.content, call.headers)
        answer = connection.getresponse()
        answer.read()

    assert answer.status == call.status
    assert notes(tmp_path) == []


def experiment(folder: Path, tables: str) -> Path:
    file = folder / "experiment.toml"
    file.write_text(f'name = "t"\nsalt = "s"\n{tables}\n')
    return file


def challenge(file: Path, weight: float | None) -> Challenge:
    # Nobody listens there: the tests below get no further than the file.
    return Challenge(experiment_file=file, service_url="http://127.0.0.1:1", weight=weight)


@pytest.mark.parametrize(
    ("tables", "weight", "expected"),
    [
        ("[variants]\na = 1", 0.1, {"a": "a_challenger"}),
        ("[variants]\na = 1\nb = 0", 0.1, {"a": "a_challenger"}),
        ("[variants]\nb = 1", 0.1, {}),  # a gets nobody: there is nothing to compete for
        ("[variants]\na_challenger = 1", 0.1, {}),
        ("[variants]\na = 1\nb = 1", None, {"a": "a_challenger"}),
        ("[variants]\nb = 1\n[shadow]\nc = 0.5", None, {"a": "a_challenger"}),
    ],
)
def test_what_drifted_and_answers_gets_a_challenger(
    tmp_path: Path, tables: str, weight: float | None, expected: Mapping[str, str]
) -> None:
    assert challenge(experiment(tmp_path, tables), weight).challengers({"a"}) == expected


@pytest.mark.parametrize(
    ("tables", "weight"),
    [
        ("[variants]\na = 1\nb = 1", 0.1),
        ("[variants]\na = 1\na_challenger = 0.1", 0.1),
        ("[variants]\na = 1\na_challenger = 0.1", None),
        ("[variants]\na = 1\n[shadow]\na_challenger = 0.1", None),
    ],
)
def test_a_running_test_is_not_overwritten_and_nothing_is_trained(
    tmp_path: Path, tables: str, weight: float | None
) -> None:
    file = experiment(tmp_path, tables)
    before = file.read_bytes()
    train = training(tmp_path, noting(tmp_path), challenge=challenge(file, weight))

    assert train.request({"a"}) is Outcome.EXPERIMENT_RUNNING
    train.wait()

    assert notes(tmp_path) == []
    assert file.read_bytes() == before


@pytest.mark.parametrize("tables", ["", "[variants]\na = true =", "[variants]\na = 'x'"])
def test_a_file_that_is_no_experiment_trains_nothing(tmp_path: Path, tables: str) -> None:
    train = training(
        tmp_path, noting(tmp_path), challenge=challenge(experiment(tmp_path, tables), 0.1)
    )

    assert train.request({"a"}) is Outcome.IMPOSSIBLE
    assert notes(tmp_path) == []


def test_a_service_that_does_not_answer_leaves_the_experiment_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = experiment(tmp_path, "[variants]\na = 1")
    before = file.read_bytes()
    command = [*noting(tmp_path), "{challengers}"]
    train = training(tmp_path, command, challenge=challenge(file, 0.1))

    assert train.request({"a"}) is Outcome.STARTED
    train.wait()

    assert notes(tmp_path) == ["a"]
    assert file.read_bytes() == before
    assert "the challenger is trained, and does not compete" in caplog.text


def test_a_failure_that_nobody_foresaw_leaves_the_experiment_as_it_was(tmp_path: Path) -> None:
    file = experiment(tmp_path, "[variants]\nxgboost = 1\n")
    before = file.read_bytes()
    nowhere = Challenge(experiment_file=file, service_url="no address", weight=0.1)

    with pytest.raises(ValueError, match="no address"):
        nowhere.begin({"xgboost"})

    assert file.read_bytes() == before


def test_the_command_hears_what_to_train_under_which_name(tmp_path: Path) -> None:
    code = f"import sys; open({str(tmp_path / 'notes')!r}, 'a').write(sys.argv[1])"
    command = [sys.executable, "-c", code, "--as={challengers}"]
    file = experiment(tmp_path, "[variants]\na = 1")
    train = training(tmp_path, command, challenge=challenge(file, None))

    assert train.request({"a", "b"}) is Outcome.STARTED
    train.wait()

    assert notes(tmp_path) == ["--as=a=a_challenger,b=b_challenger"]


def test_of_two_models_each_is_the_challenger_of_the_other() -> None:
    assert challenger_of("xgboost") == "xgboost_challenger"
    assert challenger_of("xgboost_challenger") == "xgboost"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    content = ExperimentFile(
        name='with "quotes" and \\',
        salt="s",
        variants={"a": 1 - 0.1, "b-c_1": 0.1},
        shadow={"d": 1e-05},
    )
    file.write_text(content.to_toml())

    assert ExperimentFile.read(file) == content
    loaded = Experiment.load(file, models=["a", "b-c_1", "d"])
    assert (loaded.weights, loaded.shadow) == (content.variants, content.shadow)
