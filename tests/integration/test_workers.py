"""Several workers, killed at the worst moments: nothing that was answered is lost."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
from exposition import counted, total
from ports import free_port
from prometheus_server import wait_until
from service_process import NO_TLS, Service, children, running_service

from service.state.store import open_state

KILLS = 5
FILES_OF_A_WORKER = 8  # two of counts, five of gauges, the lock
INTERVAL_SECONDS = 1
FAST = {"CTR_SNAPSHOT_INTERVAL": str(INTERVAL_SECONDS), "CTR_INSTANCE": "test"}
LEASE = "ticker:instance:test"
REQUEST = {
    "user_id": "u",
    "ad_id": "a",
    "device": "mobile",
    "placement": "header",
    "hour": 1,
    "day_of_week": 1,
}

pytestmark = pytest.mark.integration


@dataclass
class Load:
    """Clients that send until told to stop, and what they saw."""

    url: str
    clients: int
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    answered: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        while not self.stopping.is_set():
            # A connection for each few requests, so that every worker gets some.
            try:
                with httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS) as client:
                    for _ in range(10):
                        self.send_one(client)
            except httpx.TransportError:
                continue  # its worker was killed

    def send_one(self, client: httpx.Client) -> None:
        with self.lock:
            self.sent += 1
        answer = client.post("/predict_ctr", params={"model_name": "xgboost"}, json=REQUEST)
        with self.lock:
            self.answered += 1
            if answer.status_code != httpx.codes.OK:
                self.wrong.append(answer.text)


@contextmanager
def load(service: Service, clients: int = 4) -> Iterator[Load]:
    running = Load(service.url, clients)
    threads = [threading.Thread(target=running.run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.stopping.set()
        for thread in threads:
            thread.join()


def metrics_files(service: Service) -> list[Path]:
    (epoch,) = (service.state_dir / "metrics").iterdir()
    return list(epoch.iterdir())


def requests_total(client: httpx.Client) -> float:
    return total(client, "ctr_requests_total", model="xgboost")


def test_a_kill_storm_loses_and_invents_nothing(tmp_path: Path, models_dir: Path) -> None:
    rng = random.Random(1)
    scrapes: list[float] = []
    with running_service(tmp_path / "state", models_dir, env=FAST, workers=2) as service:
        (epoch,) = (service.state_dir / "metrics").iterdir()
        (epoch / "counter_1-planted.db").touch()
        with load(service) as traffic:
            for kill in range(KILLS):
                wait_until(
                    partial(answered_more_than, traffic, 100 * (kill + 1)),
                    seconds=60,
                    what="answers between two kills",
                )
                wait_until(
                    lambda: len(children(service.process.pid)) == 2, seconds=60, what="two workers"
                )
                os.kill(rng.choice(children(service.process.pid)), signal.SIGKILL)
                scrapes.append(scraped_total(service))
        scrapes.append(scraped_total(service))
        wait_until(lambda: len(children(service.process.pid)) == 2, seconds=60, what="two workers")
        with service.client() as client:
            counted = requests_total(client)
            in_progress = total(client, "ctr_requests_in_progress")
            unreadable = total(client, "ctr_metrics_unreadable_files")
            stats = client.get("/monitoring/stats?model_name=xgboost").json()
        files_after = len(metrics_files(service))

    assert traffic.wrong == []
    assert scrapes == sorted(scrapes)
    assert traffic.answered <= counted <= traffic.sent
    assert stats["total_requests"] == counted
    assert in_progress == 0
    assert unreadable == 0  # a new worker has swept up the planted file
    # Two living workers, and at most one dead one that waits for the next to come.
    assert files_after <= 3 * FILES_OF_A_WORKER + len(("fold.lock", "folded.json"))


def answered_more_than(traffic: Load, count: int) -> bool:
    return traffic.answered > count


def scraped_total(service: Service) -> float:
    """Scrape until a living worker answers: connections to a killed one break."""
    while True:
        try:
            with service.client() as client:
                return requests_total(client)
        except httpx.TransportError:
            continue


def test_a_worker_that_dies_while_it_is_asked_whether_it_lives_is_replaced_soon(
    tmp_path: Path, models_dir: Path
) -> None:
    with running_service(tmp_path / "state", models_dir, env=FAST, workers=2) as service:
        wait_until(lambda: len(children(service.process.pid)) == 2, seconds=30, what="two workers")
        victim, other = children(service.process.pid)
        # Stopped, it cannot answer: the launcher asks every half second and waits for this one.
        os.kill(victim, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(
            lambda: len(set(children(service.process.pid)) - {victim, other}) == 1,
            seconds=15,
            what="a new worker",
        )
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(timeout=15)

    assert time.monotonic() - killed < 20


def test_a_launcher_that_comes_back_waits_for_the_answers_of_the_last_one_s_workers(
    tmp_path: Path, models_dir: Path
) -> None:
    slow = FAST | {"CTR_FAULTS": "xgboost:latency_ms=3000"}
    answers: list[int] = []

    def ask(url: str) -> None:
        parameters = {"model_name": "xgboost"}
        answer = httpx.post(f"{url}/predict_ctr", params=parameters, json=REQUEST, timeout=30)
        answers.append(answer.status_code)

    port = free_port()
    with running_service(tmp_path / "state", models_dir, env=slow, workers=2, port=port) as service:
        clients = [threading.Thread(target=ask, args=(service.url,)) for _ in range(8)]
        for client in clients:
            client.start()

        def all_in_progress() -> bool:
            with service.client() as client:
                return total(client, "ctr_requests_in_progress") == 8

        wait_until(all_in_progress, seconds=20, what="eight requests in progress")
        service.process.kill()
        service.process.wait()
        with (
            running_service(tmp_path / "state", models_dir, env=FAST, port=port) as successor,
            successor.client() as asking,
        ):
            for thread in clients:
                thread.join()
            spanning = asking.get("/monitoring/stats?model_name=xgboost&window=1h").json()

    assert answers == [200] * 8
    assert spanning["total_requests"] == 8


def test_a_window_after_downtime_holds_nothing_from_before_it(
    tmp_path: Path, models_dir: Path
) -> None:
    sick = FAST | {"CTR_FAULTS": "xgboost:error=1"}
    with (
        running_service(tmp_path / "state", models_dir, env=sick) as service,
        service.client() as client,
    ):
        for _ in range(30):
            client.post("/predict_ctr", params={"model_name": "xgboost"}, json=REQUEST)
    stopped = time.time()
    wait_until(lambda: time.time() > stopped + 4, seconds=10, what="downtime")
    with (
        running_service(tmp_path / "state", models_dir, env=FAST) as service,
        service.client() as client,
    ):
        for _ in range(40):
            client.post("/predict_ctr", params={"model_name": "xgboost"}, json=REQUEST)
        short = client.get("/monitoring/stats?model_name=xgboost&window=3s").json()
        long = client.get("/monitoring/stats?model_name=xgboost&window=1h").json()
        began = total(client, "ctr_counters_began_timestamp_seconds")

    assert (short["total_requests"], short["error_rate"]) == (40, 0)
    assert (long["total_requests"], long["error_count"]) == (70, 30)
    assert datetime.fromisoformat(short["window_start"]).timestamp() == pytest.approx(began)


@pytest.mark.parametrize("what", ["folded.json", "counter_*.db"])
def test_damaged_metrics_files_do_not_keep_the_service_from_starting(
    tmp_path: Path, models_dir: Path, what: str
) -> None:
    state = tmp_path / "state"
    with running_service(state, models_dir, env=FAST) as service:
        with service.client() as client:
            client.post("/predict_ctr", json=REQUEST)
        service.process.kill()
        service.process.wait()
    (epoch,) = (state / "metrics").iterdir()
    (file,) = epoch.glob(what)
    content = bytearray(file.read_bytes())
    content[20:80] = b"\0" * len(content[20:80])
    file.write_bytes(content if what != "folded.json" else b"")

    with running_service(state, models_dir, env=FAST) as service, service.client() as client:
        assert client.post("/predict_ctr", json=REQUEST).status_code == 200


def test_the_lease_moves_to_a_living_worker_within_two_ticks(
    tmp_path: Path, models_dir: Path
) -> None:
    with (
        running_service(tmp_path / "state", models_dir, env=FAST, workers=2) as service,
        open_state(f"sqlite:///{service.state_dir / 'state.db'}") as state,
    ):

        def holder() -> str | None:
            return state.leases.holder_of(LEASE, time.time())

        wait_until(lambda: holder() is not None, seconds=30, what="a first holder")
        wait_until(lambda: len(children(service.process.pid)) == 2, seconds=30, what="two workers")
        first = holder()
        assert first is not None
        os.kill(int(first.split("-")[0]), signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: holder() not in {None, first}, seconds=30, what="another holder")
        moved_after = time.monotonic() - killed

    # Two ticks, and the moment that a tick's work takes on a busy machine.
    assert moved_after <= 2 * INTERVAL_SECONDS + 0.5


def test_what_was_answered_before_everything_was_killed_is_in_the_history_after(
    tmp_path: Path, models_dir: Path
) -> None:
    state_dir = tmp_path / "state"
    with running_service(state_dir, models_dir, env=FAST) as service:
        with load(service) as traffic:
            wait_until(lambda: traffic.answered > 300, seconds=60, what="300 answers")
            # All at once, in the middle of the load.
            everything = [service.process.pid, *children(service.process.pid)]
            traffic.stopping.set()
            for pid in everything:
                os.kill(pid, signal.SIGKILL)
        service.process.wait()
        wait_until(
            lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in everything[1:]),
            seconds=30,
            what="the workers are gone",
        )

    with (
        running_service(state_dir, models_dir, env=FAST) as service,
        service.client() as client,
    ):
        for _ in range(7):
            client.post("/predict_ctr", params={"model_name": "xgboost"}, json=REQUEST)
        spanning = client.get("/monitoring/stats?model_name=xgboost&window=1h").json()
        this_life = client.get("/monitoring/stats?model_name=xgboost").json()

    assert this_life["total_requests"] == 7
    assert traffic.answered + 7 <= spanning["total_requests"] <= traffic.sent + 7
    assert spanning["total_predictions"] == spanning["total_requests"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process(
    tmp_path: Path, models_dir: Path, workers: int, how: signal.Signals
) -> None:
    with running_service(tmp_path / "state", models_dir, workers=workers) as service:
        family = [service.process.pid, *children(service.process.pid)]
        assert len(family) == (1 if workers == 1 else 3)
        service.process.send_signal(how)
        status = service.process.wait(timeout=30)

    assert status in {0, -how}
    assert not any(Path(f"/proc/{pid}").exists() for pid in family)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_that_never_finishes_its_request_does_not_keep_the_service_from_stopping(
    tmp_path: Path, models_dir: Path, workers: int
) -> None:
    with running_service(tmp_path / "state", models_dir, workers=workers) as service:
        host, _, port = service.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /predict_ctr HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            service.process.send_signal(signal.SIGINT)
            status = service.process.wait(timeout=25)

    assert status in {0, -signal.SIGINT}


def test_it_listens_on_ipv6_too(tmp_path: Path, models_dir: Path) -> None:
    with (
        running_service(tmp_path / "state", models_dir, env={"CTR_HOST": "::1"}) as service,
        service.client() as client,
    ):
        assert service.url.startswith("http://[::1]:")
        assert client.get("/healthz").status_code == 200


def test_orphaned_workers_end_themselves(tmp_path: Path, models_dir: Path) -> None:
    with running_service(tmp_path / "state", models_dir, env=FAST, workers=2) as service:
        orphans = children(service.process.pid)
        service.process.kill()
        service.process.wait()

        wait_until(
            lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in orphans),
            seconds=20,
            what="the workers notice that their launcher is gone",
        )


def test_a_second_service_on_the_same_state_is_refused(tmp_path: Path, models_dir: Path) -> None:
    with (
        running_service(tmp_path / "state", models_dir),
        pytest.raises(AssertionError),
        running_service(tmp_path / "state", models_dir),
    ):
        pass


def test_every_series_exists_from_the_start_with_any_number_of_workers(
    tmp_path: Path, models_dir: Path
) -> None:
    names = []
    for workers in (1, 2):
        with (
            running_service(tmp_path / f"state{workers}", models_dir, workers=workers) as service,
            service.client() as client,
        ):
            names.append(counted(client).keys())
    assert names[0] == names[1]
