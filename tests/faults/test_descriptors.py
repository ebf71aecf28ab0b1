"""No file descriptor left: connections that are open are served, no number is wrong."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from accounting import account_for_the_service
from acknowledged_traffic import MODEL, REQUEST, Ledger, acknowledged_traffic
from exposition import total
from prometheus_server import wait_until
from service_process import Service, children, running_service

pytestmark = pytest.mark.integration

ENV = {"CTR_INSTANCE": "test", "CTR_SNAPSHOT_INTERVAL": "1"}
MORE = 50
USUAL = 256


@contextmanager
def no_descriptor_left(pid: int) -> Iterator[None]:
    """Let a process open nothing more; what it has open stays."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def predicted(client: httpx.Client, ledger: Ledger) -> float:
    ledger.sent += 1
    answer = client.post("/predict_ctr", params={"model_name": MODEL}, json=REQUEST)
    score: float = answer.raise_for_status().json()["predicted_ctr"]
    ledger.answered += 1
    return score


def test_without_descriptors_who_is_connected_is_served_and_nobody_told_a_wrong_number(
    tmp_path: Path, models_dir: Path
) -> None:
    ledger = Ledger()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL, before[1]))
        service = stack.enter_context(
            running_service(tmp_path / "state", models_dir, env=ENV, workers=2)
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for pid in (service.process.pid, *children(service.process.pid)):
            assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] > USUAL

        with acknowledged_traffic(service.url, ledger) as clients:
            clients.wait_for_answers(MORE)
        check_without_descriptors(service, ledger)
        with acknowledged_traffic(service.url, ledger) as clients:
            clients.wait_for_answers(MORE)

        assert ledger.answered == ledger.sent
        url = f"sqlite:///{service.state_dir / 'state.db'}"
        account_for_the_service(ledger, service, url, "instance:test")


def check_without_descriptors(service: Service, ledger: Ledger) -> None:
    with ExitStack() as stack, service.client() as client:
        right = predicted(client, ledger)
        for pid in children(service.process.pid):
            stack.enter_context(no_descriptor_left(pid))

        assert [predicted(client, ledger) for _ in range(MORE)] == [right] * MORE
        for path in ("/metrics", "/monitoring/health", f"/monitoring/stats?model_name={MODEL}"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "Too many open files" in answer.json()["detail"]
            assert "retry-after" in answer.headers
        wait_until(
            lambda: "the history stands still; predictions go on" in service.log(),
            seconds=30,
            what="the log tells of it",
        )
    with service.client() as client:
        assert total(client, "ctr_metrics_unreadable_files") == 0
        assert total(client, "ctr_requests_total", model=MODEL) == ledger.answered
    wait_until(
        lambda: "the history goes on" in service.log(), seconds=30, what="the history goes on"
    )
