"""A clock that jumps under a running service: no count is lost, doubled, or in a wrong span."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from accounting import account_for_the_service
from acknowledged_traffic import MODEL, Ledger, acknowledged_traffic
from exposition import total
from moved_clock import moved_clock
from prometheus_server import wait_until
from service_process import Service, running_service

pytestmark = pytest.mark.integration

ENV = {
    "CTR_ATTRIBUTION_WINDOW": "172800",
    "CTR_INSTANCE": "test",
    "CTR_SNAPSHOT_INTERVAL": "1",
}
SCOPE = "instance:test"
MORE = 50
HOUR = 3600


def state_url(service: Service) -> str:
    return f"sqlite:///{service.state_dir / 'state.db'}"


def ticks(service: Service) -> list[float]:
    with closing(sqlite3.connect(service.state_dir / "state.db")) as state:
        return [tick for (tick,) in state.execute("SELECT tick FROM snapshots")]


def wait_for_ticks(service: Service, more: int) -> None:
    before = len(ticks(service))
    wait_until(lambda: len(ticks(service)) >= before + more, seconds=30, what="more ticks")


def stats(client: httpx.Client, window: str) -> dict[str, Any]:
    path = f"/monitoring/stats?model_name={MODEL}&window={window}"
    found: dict[str, Any] = client.get(path).raise_for_status().json()
    return found


def seconds_of(window: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(window[f"window_{edge}"]) for edge in ("start", "end"))
    return (end - start).total_seconds()


def check_no_alarm(client: httpx.Client) -> None:
    health = client.get("/monitoring/health").raise_for_status().json()
    assert (health["status"], health["alerts"]) == ("healthy", [])


def test_a_clock_that_jumps_loses_no_count_and_raises_no_alarm(
    tmp_path: Path, models_dir: Path
) -> None:
    clock, ledger = moved_clock(tmp_path), Ledger()
    with running_service(
        tmp_path / "state", models_dir, env={**ENV, **clock.env}, workers=2
    ) as service:
        with service.client() as client, acknowledged_traffic(service.url, ledger) as clients:
            clients.wait_for_answers(MORE)
            wait_for_ticks(service, 2)

            clock.move(-HOUR)
            clients.wait_for_answers(MORE)
            check_while_set_back(client, service)

            clock.move(0)
            clients.wait_for_answers(MORE)
            wait_for_ticks(service, 2)
            assert service.log().count("the history goes on") == 1
            check_no_alarm(client)

            before = ticks(service)
            clock.move(25 * HOUR)
            clients.wait_for_answers(MORE)
            wait_for_ticks(service, 2)
            check_after_a_jump_forwards(client, service, before)

        assert ledger.answered == ledger.sent
        assert not ledger.refused
        account_for_the_service(ledger, service, state_url(service), SCOPE, window="7d")


def check_while_set_back(client: httpx.Client, service: Service) -> None:
    """Nothing is said of spans that cannot be told; what is counted is."""
    wait_until(
        lambda: service.log().count("the history stands still") == 1,
        seconds=30,
        what="the log tells of it",
    )
    for path in ("/monitoring/health", f"/monitoring/stats?model_name={MODEL}&window=60s"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "the clock was set back by 3" in answer.json()["detail"]
    assert total(client, "ctr_requests_total", model=MODEL) > 2 * MORE
    assert total(client, "ctr_drift_active", missing=0.0) == 0


def check_after_a_jump_forwards(
    client: httpx.Client, service: Service, before: list[float]
) -> None:
    """The longer span is told as long as it is, and nothing was forgotten."""
    check_no_alarm(client)
    ever, day = stats(client, "all"), stats(client, "24h")
    assert seconds_of(ever) > seconds_of(day) > 24 * HOUR
    assert 0 < day["total_requests"] <= ever["total_requests"]
    assert set(before) <= set(ticks(service))
