"""A disk that is full, read-only, slow or locked: predictions go on, no click is lost."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from accounting import account_for_the_service
from acknowledged_traffic import MODEL, REQUEST, Clients, Ledger, acknowledged_traffic
from breakable_disk import failing_disk, filled, read_only, slow_disk, small_disk, turn_read_only
from exposition import total
from prometheus_server import wait_until
from service_process import ROOT, Service, children, running_service

pytestmark = pytest.mark.integration

SCOPE = "instance:test"
ENV = {"CTR_INSTANCE": "test", "CTR_SNAPSHOT_INTERVAL": "1"}
MORE = 50
WORKERS = 2
FULL = "(No space left on device|disk is full)"
STANDS_STILL = "the history stands still; predictions go on"


def check_that_predictions_go_on(clients: Clients, service: Service, right: float) -> None:
    """Those of all clients, and right, and each is counted though nothing can be written down."""
    ledger = clients.ledger
    answered = ledger.answered
    wait_until(lambda: ledger.answered > answered + MORE, seconds=60, what="more predictions")
    answered = ledger.answered
    with service.client() as client:
        assert predicted(client, ledger) == right
        assert total(client, "ctr_requests_total", model=MODEL) > answered
        assert total(client, "ctr_metrics_unreadable_files") == 0


def wait_for_the_log(service: Service, before: tuple[int, int]) -> None:
    wait_until(lambda: streaks(service)[0] > before[0], seconds=30, what="the log tells of it")


def check_streaks(service: Service, before: tuple[int, int]) -> None:
    """Each worker has told of it at most once, and that it is over."""
    stood, went_on = (now - then for now, then in zip(streaks(service), before, strict=True))
    assert 1 <= stood == went_on <= WORKERS


def wait_for_a_refused_click(ledger: Ledger) -> None:
    before = ledger.refused[503]
    wait_until(lambda: ledger.refused[503] > before, seconds=60, what="a click is refused")


def predicted(client: httpx.Client, ledger: Ledger) -> float:
    """Predict for the same visitor once more."""
    with ledger.lock:
        ledger.sent += 1
    answer = client.post("/predict_ctr", params={"model_name": MODEL}, json=REQUEST)
    score: float = answer.raise_for_status().json()["predicted_ctr"]
    with ledger.lock:
        ledger.answered += 1
    return score


def url_of(service: Service) -> str:
    return f"sqlite:///{service.state_dir / 'state.db'}"


def streaks(service: Service) -> tuple[int, int]:
    """How often the log says that the history stands still, and that it goes on."""
    log = service.log()
    return log.count(STANDS_STILL), log.count("the history goes on")


def wait_for_stored(service: Service) -> None:
    """Wait for a snapshot that is taken from now on."""
    now = time.time()

    def stored() -> bool:
        with service.client() as client:
            return total(client, "ctr_snapshot_stored_timestamp_seconds", missing=0.0) > now

    wait_until(stored, seconds=30, what="a snapshot is stored")


def started_in_vain(state: Path, models: Path) -> str:
    """What a start says that must fail: one line, and status 1."""
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts" / "run_api.py"), "--port", "0"),
            *("--state-dir", str(state), "--models-dir", str(models)),
        ],
        env={**os.environ, **ENV, "CTR_BRIDGE_ENABLED": "false"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    [line] = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Service]:
    """Two workers whose state is on a small disk."""
    folder = tmp_path_factory.mktemp("small")
    with (
        small_disk(folder / "state", megabytes=24) as state,
        running_service(state, models_dir, env=ENV, workers=WORKERS) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """What the clients of all faults were told."""
    return Ledger()


def test_a_full_disk_stops_no_prediction_and_loses_no_click(
    system: Service, ledger: Ledger
) -> None:
    before = streaks(system)
    with acknowledged_traffic(system.url, ledger) as clients, system.client() as client:
        clients.wait_for_answers(MORE)
        right = predicted(client, ledger)
        with filled(system.state_dir):
            wait_for_the_log(system, before)
            wait_for_a_refused_click(ledger)
            check_that_predictions_go_on(clients, system, right)
        clients.wait_for_answers(MORE)
        wait_for_stored(system)

    assert ledger.broken == 0
    assert ledger.answered == ledger.sent
    assert set(ledger.refused) <= {503}
    check_streaks(system, before)
    account_for_the_service(ledger, system, url_of(system), SCOPE)


def test_a_stranger_who_locks_the_state_stops_no_prediction_and_loses_no_click(
    system: Service, ledger: Ledger
) -> None:
    before = streaks(system)
    with acknowledged_traffic(system.url, ledger) as clients, system.client() as client:
        clients.wait_for_answers(MORE)
        right = predicted(client, ledger)
        stranger = sqlite3.connect(system.state_dir / "state.db", isolation_level=None)
        with contextlib.closing(stranger):
            stranger.execute("BEGIN EXCLUSIVE")
            wait_for_the_log(system, before)
            wait_for_a_refused_click(ledger)
            assert predicted(client, ledger) == right
            # What was stored can be read, and what is counted now is in the answer.
            health = client.get("/monitoring/health")
            stranger.execute("ROLLBACK")
        clients.wait_for_answers(MORE)
        wait_for_stored(system)

    assert health.status_code == 200
    assert ledger.answered == ledger.sent
    check_streaks(system, before)
    account_for_the_service(ledger, system, url_of(system), SCOPE)


def test_on_a_slow_disk_clicks_wait_and_predictions_do_not(
    system: Service, ledger: Ledger, tool: Callable[[str, str], str]
) -> None:
    strace = tool("strace", "strace")
    late = 0.5
    with acknowledged_traffic(system.url, ledger, clients=2) as clients, system.client() as client:
        clients.wait_for_answers(MORE)
        right = predicted(client, ledger)
        with slow_disk(strace, children(system.process.pid), seconds=late):
            times = []
            for _ in range(5):
                began = time.monotonic()
                assert predicted(client, ledger) == right
                times.append(time.monotonic() - began)
            began = time.monotonic()
            wait_until(lambda: bool(ledger.unsettled), seconds=30, what="a prediction")
            clients.click(client, sorted(ledger.unsettled)[:1])
            waited = time.monotonic() - began
        clients.wait_for_answers(MORE)

    assert waited >= late
    assert min(times) < late / 2
    assert ledger.answered == ledger.sent
    account_for_the_service(ledger, system, url_of(system), SCOPE)


def test_a_disk_that_turns_read_only_stops_no_prediction_and_keeps_every_click(
    tmp_path: Path, models_dir: Path
) -> None:
    ledger, folder, image = Ledger(), tmp_path / "state", tmp_path / "disk.img"
    with (
        failing_disk(folder, image) as state,
        running_service(state, models_dir, env=ENV, workers=WORKERS) as service,
        service.client() as client,
    ):
        answers = [client.post("/predict_ctr", json=REQUEST).json() for _ in range(MORE)]
        clicks = [{"prediction_id": a["prediction_id"], "clicked": True} for a in answers]
        told = client.post("/feedback", json={"events": clicks}).raise_for_status().json()
        assert told["accepted"] == MORE
        right = predicted(client, ledger)
        wait_for_stored(service)
        os.sync()  # The next write to a mapped page asks the disk for leave.
        turn_read_only(state)

        assert [predicted(client, ledger) for _ in range(MORE)] == [right] * MORE
        again = client.post("/feedback", json={"events": clicks}).raise_for_status().json()
        new = client.post("/predict_ctr", json=REQUEST).json()["prediction_id"]
        click = {"prediction_id": new, "clicked": True}
        refused = client.post("/feedback", json={"events": [click]})
        assert again["duplicates"] == MORE  # It can be read that they are stored.
        assert refused.status_code == 503
        assert "state.db is not available" in refused.json()["detail"]
        wait_for_the_log(service, (0, 0))
        assert total(client, "ctr_requests_total") == MORE + ledger.answered + 1
    assert service.process.returncode == 0

    with (
        failing_disk(folder, image) as state,
        running_service(state, models_dir, env=ENV) as service,
        service.client() as client,
    ):
        events = [*clicks, click]
        again = client.post("/feedback", json={"events": events}).raise_for_status().json()
        assert (again["accepted"], again["duplicates"]) == (1, MORE)


def test_a_start_on_a_full_or_read_only_disk_says_so_in_a_line(
    tmp_path: Path, models_dir: Path
) -> None:
    with small_disk(tmp_path / "state", megabytes=8) as state:
        with filled(state):
            assert re.search(rf"{state}.*{FULL}", started_in_vain(state, models_dir))
        with running_service(state, models_dir, env=ENV) as service, service.client() as client:
            predicted(client, Ledger())
        with filled(state):
            assert re.search(rf"{state}.*{FULL}", started_in_vain(state, models_dir))
        with read_only(state):
            assert f"{state} cannot be used: Read-only" in started_in_vain(state, models_dir)
        with running_service(state, models_dir, env=ENV) as service, service.client() as client:
            ever = client.get(f"/monitoring/stats?model_name={MODEL}&window=1h").json()
    assert ever["total_requests"] == 1
