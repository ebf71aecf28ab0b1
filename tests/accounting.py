"""One accounting: what the service has acknowledged, and what is still there of it."""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from acknowledged_traffic import MODEL, Ledger
from exposition import total
from fabricated_history import Fact, stored_facts, stored_runs
from prometheus_server import Prometheus, wait_until
from service_process import Service
from sqlalchemy import Row, create_engine, text

from service.monitoring.history import Tick
from service.state.store import open_state

_EVER = 1e11
"""Later than every tick, in Unix seconds."""


def account_for_the_service(
    ledger: Ledger, service: Service, state_url: str, scope: str, *, window: str = "6h"
) -> int:
    """Compare the answers and the state with the ledger; nothing may be sent meanwhile.

    Returns:
        Requests that were counted in all lives. They are at least those answered and at most those
        sent: a request whose connection broke may have been counted or not.
    """
    with service.client() as client:
        stats = "/monitoring/stats?model_name=" + MODEL
        ever = client.get(f"{stats}&window={window}").raise_for_status().json()
        this_life = client.get(stats).raise_for_status().json()
        exposed = total(client, "ctr_requests_total", model=MODEL)
        baseline = client.get(f"/monitoring/baseline/{MODEL}").raise_for_status().json()
    counted = int(ever["total_requests"])

    assert ledger.answered <= counted <= ledger.sent
    assert ever["total_predictions"] + ever["error_count"] == counted
    assert exposed == this_life["total_requests"]
    _account_for_history(state_url, scope, counted)
    _account_for_clicks(ledger, state_url)
    _account_for_baselines(ledger, state_url, in_force=baseline["mean_prediction"])
    return counted


def account_for_prometheus(service: Service, prometheus: Prometheus) -> None:
    """It has what the service shows; nothing may be sent meanwhile."""
    with service.client() as client:
        exposed = total(client, "ctr_requests_total", model=MODEL)

    def scraped() -> bool:
        found = prometheus.query(f'sum(ctr_requests_total{{model="{MODEL}"}})')
        return [float(series["value"][1]) for series in found] == [exposed]

    wait_until(scraped, seconds=30, what=f"Prometheus has {exposed:g} requests")


def account_for_mlflow(
    state_url: str, mlflow_url: str, counted: int, *, sent: Counter[Fact]
) -> int:
    """Every point that was sent is there exactly once, and they add up to all requests.

    A bridge that is at work freezes and sends more meanwhile.

    Args:
        state_url: Of the service.
        mlflow_url: Its database.
        counted: Requests in all lives.
        sent: What had been frozen when nothing waited any more.

    Returns:
        The number of points.
    """
    facts = Counter({fact: n for fact, n in stored_facts(mlflow_url).items() if fact.run_key})
    frozen = frozen_facts(state_url)
    assert set(frozen.values()) <= {1}
    lost, not_frozen_once = sent - facts, facts - frozen
    assert not lost, sorted(lost)[:3]
    assert not not_frozen_once, sorted(not_frozen_once, key=str)[:3]
    keys = Counter(run.run_key for run in stored_runs(mlflow_url))
    assert set(keys.values()) <= {1}
    assert requests_told(facts) == counted
    return len(facts)


def requests_told(facts: Iterable[Fact]) -> int:
    """Sum of what the windows of all runs say was requested."""
    return int(
        sum(
            fact.value
            for fact in facts
            if fact.name == "requests_in_window" and MODEL in fact.run_key.split("|")
        )
    )


def frozen_facts(state_url: str) -> Counter[Fact]:
    """Every point that the outbox has or had, as MLflow is to have it."""
    found: Counter[Fact] = Counter()
    for row in _rows(state_url, "SELECT run_key, content FROM outbox"):
        for name, value, at, step in json.loads(zlib.decompress(row.content))["points"]:
            found[Fact(row.run_key, name, step, at, value)] += 1
    return found


def _account_for_history(state_url: str, scope: str, counted: int) -> None:
    """Each tick of each life is stored once, what it counts never falls, and no life is missing."""
    with open_state(state_url) as state:
        ticks = list(state.history(scope).ticks(0, _EVER))
    lives: dict[float, list[Tick]] = {}
    for tick in ticks:
        lives.setdefault(tick.snapshot.epoch, []).append(tick)
    for rows in lives.values():
        assert all(a.tick < b.tick for a, b in pairwise(rows))
        requests = [_requests(tick) for tick in rows]
        assert requests == sorted(requests)
    *ended, running = lives.values()
    assert all(rows[-1].final for rows in ended)
    assert sum(_requests(rows[-1]) for rows in [*ended, running]) <= counted


def _requests(tick: Tick) -> float:
    return sum(
        value
        for key, value in tick.snapshot.counters.items()
        if key.name == "ctr_requests_total" and ("model", MODEL) in key.labels
    )


def _account_for_clicks(ledger: Ledger, state_url: str) -> None:
    """Each click is there once, and in one minute's sums."""
    [[clicked]] = _rows(state_url, "SELECT count(*) FROM clicked")
    [[summed]] = _rows(state_url, "SELECT sum(clicks) FROM click_cohorts")
    assert clicked == summed == len(ledger.clicked)


def _account_for_baselines(ledger: Ledger, state_url: str, *, in_force: float) -> None:
    rows = _rows(
        state_url,
        "SELECT content FROM baselines ORDER BY revision",
    )
    found = [json.loads(row.content) for row in rows]
    stored = [baseline["mean_prediction"] for baseline in found if baseline["source"] == "request"]
    assert len(stored) == len(set(stored))
    assert set(ledger.saved_baselines) <= set(stored) <= set(ledger.sent_baselines)
    if stored:
        assert in_force == stored[-1]


def _rows(database_url: str, statement: str) -> Sequence[Row[*tuple[Any, ...]]]:
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement)).all()
    finally:
        engine.dispose()
