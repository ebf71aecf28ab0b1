"""Connections that stay open while nobody is at the other end: they cost time, never for ever."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from acknowledged_traffic import MODEL, Ledger, acknowledged_traffic
from exposition import total
from prometheus_server import wait_until
from service_process import Service, running_service

pytestmark = pytest.mark.integration

VANISHED = 200
MORE = 50
LEFT_UNFINISHED = (
    b"",
    b"GET /metrics HTTP/1.1\r\nHost:",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
)
"""Nothing, half a head, and a request whose answer nobody reads."""
PATIENCE_SECONDS = 30.0


@contextmanager
def silent_server() -> Iterator[str]:
    """Let the system accept connections, and answer none."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=100)) as server:
        host, port = server.getsockname()
        yield f"http://{host}:{port}"


def descriptors(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def test_clients_that_vanish_leave_nothing_behind_and_hold_up_nobody(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    ledger = Ledger()
    with acknowledged_traffic(service.url, ledger) as clients, ExitStack() as stack:
        clients.wait_for_answers(MORE)
        before = descriptors(service)
        for i in range(VANISHED):
            one = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            one.sendall(LEFT_UNFINISHED[i % len(LEFT_UNFINISHED)])
        wait_until(
            lambda: descriptors(service) > before + VANISHED / 2,
            seconds=30,
            what="the service accepts them",
        )
        clients.wait_for_answers(MORE)
        wait_until(
            lambda: descriptors(service) < before + VANISHED / 10,
            seconds=PATIENCE_SECONDS,
            what="the service lets go of them",
        )

    assert (ledger.broken, ledger.answered) == (0, ledger.sent)
    with service.client() as client:
        assert total(client, "ctr_requests_total", model=MODEL) == ledger.answered


def test_a_prometheus_that_hangs_makes_the_fleet_unknown_and_nothing_else_slower(
    tmp_path: Path, models_dir: Path
) -> None:
    ledger = Ledger()
    with silent_server() as prometheus:
        env = {
            "CTR_MONITORING_SOURCE": "prometheus",
            "CTR_PROMETHEUS_URL": prometheus,
            "CTR_SNAPSHOT_INTERVAL": "1",
        }
        with (
            running_service(tmp_path / "state", models_dir, env=env) as service,
            service.client() as client,
        ):
            with acknowledged_traffic(service.url, ledger) as clients:
                clients.wait_for_answers(MORE)
                wait_until(
                    lambda: "Prometheus does not answer: timed out" in service.log(),
                    seconds=60,
                    what="the log tells of it",
                )
                clients.wait_for_answers(MORE)
                began = time.monotonic()
                fleet = client.get("/monitoring/health")
                asked = time.monotonic() - began
                own = client.get("/monitoring/health", params={"scope": "instance"})
            stopping = time.monotonic()
    # What waits for an answer is waited for when the service stops, and given up.
    assert time.monotonic() - stopping < PATIENCE_SECONDS

    assert fleet.status_code == 503
    assert "?scope=instance answers" in fleet.json()["detail"]
    assert asked < 1
    assert own.status_code == 200
    assert (ledger.broken, ledger.answered) == (0, ledger.sent)
    assert not ledger.refused
