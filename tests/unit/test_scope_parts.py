"""Instances that share a state: each has its own clicks, and drops nothing that a window needs."""

import math
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.api.scopes import Scopes
from service.monitoring import catalogue
from service.monitoring.clicks import Click
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.state import Plan
from service.monitoring.snapshot import Series, Snapshot
from service.prediction.prediction_id import origin_of
from service.scopes import ScopeParts
from service.settings import Settings
from service.sources.active_baselines import ActiveBaselines
from service.sources.cohorts import Cohorts
from service.sources.stored_windows import StoredWindows
from service.state.store import State, open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.registry import registry_of
from service.ticker import TickJob

MODEL = ModelVersion("m", "1")
LABELS = (("model", "m"), ("version", "1"))
HISTORY, ATTRIBUTION = 7200, 6600
HERE = origin_of("here")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


def reading(at: float, predictions: float) -> Snapshot:
    """Everything that was predicted so far was 0.5."""
    name = catalogue.PREDICTION.name
    bounds = [*catalogue.PREDICTION.bounds, math.inf]
    counters = {
        Series(f"{name}_bucket", (("le", str(bound)), *LABELS)): predictions * (bound >= 0.5)
        for bound in bounds
    } | {
        Series(f"{name}_sum", LABELS): predictions / 2,
        Series(catalogue.PREDICTION_SQUARED.name, LABELS): predictions / 4,
    }
    return Snapshot(at=at, epoch=1.0, counters=counters, gauges={})


def click(at: float, *, instance: str = "here") -> Click:
    return Click(
        key=secrets.token_bytes(16),
        origin=origin_of(instance),
        model="m",
        version="1",
        milliseconds=round(at * 1000),
        prediction=0.5,
        experiment=0,
        cell=None,
    )


def built(state: State, instance: str = "here") -> tuple[Scopes, TickJob]:
    settings = Settings(
        instance=instance, history=HISTORY, attribution_window=ATTRIBUTION, bridge_enabled=False
    )
    parts = ScopeParts(
        settings=settings,
        state=state,
        baselines=ActiveBaselines(dict, state.baselines),
        plan=lambda: Plan(name="", key="", fingerprint=0, weights={}, versions={}),
        holder="test",
    )
    scopes, [job] = parts.build(registry_of(MetricsFolder(Path("nowhere"))))
    return scopes, job


def test_the_oldest_minute_of_the_history_keeps_its_clicks(state: State) -> None:
    history = state.history("instance:here")
    for minute in range(1, 201):
        history.append(60 * minute, reading(60 * minute + 0.02, 10 * minute))
        state.clicks.count([click(60 * minute + second) for second in (10, 50)])
    now = 60 * 200 + 0.1

    _, job = built(state)
    job.housekeeping(now)

    cohorts = Cohorts(
        source=StoredWindows(history),
        clicks=state.clicks,
        origin=HERE,
        attribution_seconds=ATTRIBUTION,
    )
    end = cohorts.mature_until(now)
    longest = cohorts.between(MODEL, end - (HISTORY - ATTRIBUTION), end)
    assert longest is not None
    assert (longest.predictions.count, longest.clicks.count) == (100, 20)


def test_a_click_that_may_come_again_is_remembered_and_others_are_not(state: State) -> None:
    now = 1_000_000.0
    young, long_over = click(now - ATTRIBUTION), click(now - ATTRIBUTION - 2 * 3600)
    state.clicks.count([young, long_over])

    _, job = built(state)
    job.housekeeping(now)

    assert set(state.clicks.count([young, long_over])) == {long_over.key}


def test_an_instance_is_judged_by_the_clicks_on_its_own_predictions(state: State) -> None:
    for instance, predictions in (("here", 10), ("there", 20)):
        history = state.history(f"instance:{instance}")
        history.append(6060, reading(6060.02, predictions))
    state.clicks.count([click(6010), *(click(6020, instance="there") for _ in range(5))])

    for instance, found in (("here", (10, 1)), ("there", (20, 5))):
        scopes, _ = built(state, instance)
        report = scopes.of(None).quality.report(MODEL, 6060.0)
        assert (report.maturing_predictions, report.maturing_clicks) == found
