"""Stopped and started again under load: every request is answered and counted, or neither."""

import json
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
from accounting import account_for_the_service
from acknowledged_traffic import MODEL, REQUEST, SCALE, Ledger, acknowledged_traffic
from ports import free_port
from service_process import running_service

pytestmark = pytest.mark.integration

FAST = {"CTR_SNAPSHOT_INTERVAL": "1", "CTR_INSTANCE": "test"}
SCOPE = "instance:test"
LONGEST_DRAIN_SECONDS = 10
RESTARTS = SCALE


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_under_load_answers_what_it_counts_and_counts_what_it_answers(
    tmp_path: Path, models_dir: Path, workers: int
) -> None:
    ledger = Ledger()
    port = free_port()
    # Slow enough that requests are always being answered.
    env = FAST | {"CTR_FAULTS": f"{MODEL}:latency_ms=50"}
    took = []
    with acknowledged_traffic(f"http://127.0.0.1:{port}", ledger, clients=6) as clients:
        for _ in range(RESTARTS):
            with running_service(
                *(tmp_path / "state", models_dir), env=env, workers=workers, port=port
            ) as service:
                clients.wait_for_answers(60)
                service.process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                service.process.wait(timeout=LONGEST_DRAIN_SECONDS + 5)
                took.append(time.monotonic() - began)
        with running_service(
            *(tmp_path / "state", models_dir), env=env, workers=workers, port=port
        ) as service:
            clients.wait_for_answers(20)
            clients.finish()
            counted = account_for_the_service(
                ledger, service, f"sqlite:///{service.state_dir}/state.db", SCOPE
            )

    assert max(took) < LONGEST_DRAIN_SECONDS
    assert counted == ledger.answered
    assert ledger.refused == {}
    print(
        f"\n{RESTARTS} restarts, drained in {max(took):.1f} s; {ledger.tally()} acknowledged, "
        f"{ledger.sent - ledger.answered} never begun"
    )


def test_a_request_that_is_half_sent_when_it_is_stopped_is_answered_and_counted(
    tmp_path: Path, models_dir: Path
) -> None:
    body = json.dumps(REQUEST).encode()
    head = (
        f"POST /predict_ctr?model_name={MODEL} HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    state = tmp_path / "state"
    with running_service(state, models_dir, env=FAST, workers=2) as service:
        url = httpx.URL(service.url)
        address = (url.host, url.port or 0)
        with (
            socket.create_connection(address, timeout=15) as idle,
            socket.create_connection(address, timeout=15) as client,
        ):
            client.sendall(head.encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 100")  # It has read the head.
            client.sendall(body[:20])
            service.process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""  # It has closed what waits for nothing.
            client.sendall(body[20:])
            with client.makefile("rb") as answer:
                status = answer.readline()
        service.process.wait(timeout=LONGEST_DRAIN_SECONDS)
    with running_service(state, models_dir, env=FAST) as service, service.client() as asking:
        stats = asking.get(f"/monitoring/stats?model_name={MODEL}&window=1h").json()

    assert status.startswith(b"HTTP/1.1 200")
    assert stats["total_requests"] == 1
