"""What MLflow is told of an A/B test, computed by hand."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge.experiment_points import experiment_numbers
from bridge.freezing import Freezer
from bridge.runs import RunNaming
from service.monitoring import catalogue
from service.monitoring.cells import CELLS
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.arms import Arm, ArmCounts, Served
from service.monitoring.experiment.report import report
from service.monitoring.experiment.state import ExperimentState, Plan
from service.monitoring.health import HealthPolicy
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.tracking import EntryKind
from service.sources.cohorts import Cohorts
from service.sources.quality_watch import QualityWatch
from service.sources.stored_windows import StoredWindows
from service.state.experiments import StoredExperiment
from service.state.store import State, open_state

WINDOW, START = 300, 1_800_000_000
A, B = ModelVersion("a", "1"), ModelVersion("b", "7")


def arm(model: ModelVersion, clicks_in_a_cell: float) -> Arm:
    # Not all cells alike: a variance of zero is no user's.
    clicks = np.resize(np.array([clicks_in_a_cell, clicks_in_a_cell + 2], dtype=np.float64), CELLS)
    return Arm(
        model=model,
        weight=1.0,
        counts=ArmCounts(
            impressions=np.full(CELLS, 1000.0, dtype=np.float64),
            clicks=clicks,
            served=Served(),
        ),
    )


ARMS = [arm(A, 19.0), arm(B, 29.0)]


def test_a_variant_is_told_with_its_rate_and_a_challenger_with_the_difference() -> None:
    said = report("test", ARMS)
    baseline, challenger = (experiment_numbers(said, model) for model in (A, B))

    assert baseline["experiment_predictions"] == challenger["experiment_predictions"] == 64_000
    assert (baseline["experiment_clicks"], challenger["experiment_clicks"]) == (1280, 1920)
    assert baseline["experiment_ctr"] == 0.02
    assert baseline["experiment_ctr_low"] < 0.02 < baseline["experiment_ctr_high"]
    assert baseline["experiment_mismatch"] == 0
    assert "experiment_difference" not in baseline

    assert challenger["experiment_difference"] == pytest.approx(0.01)
    low, high = (challenger[f"experiment_difference_{side}"] for side in ("low", "high"))
    assert 0 < low < 0.01 < high
    assert challenger["experiment_verdict"] == 1
    assert challenger["experiment_evidence"] > challenger["experiment_evidence_threshold"]
    assert challenger["experiment_evidence_threshold"] == pytest.approx(math.log(20))


def test_the_other_way_round_the_challenger_is_worse() -> None:
    assert experiment_numbers(report("test", ARMS[::-1]), A)["experiment_verdict"] == -1


def test_a_model_that_is_no_variant_and_a_variant_without_impressions_have_no_rate() -> None:
    nothing = [replace(one, counts=ArmCounts.nothing()) for one in ARMS]

    assert experiment_numbers(report("test", ARMS), ModelVersion("a", "2")) == {}
    assert experiment_numbers(report("test", nothing), B) == {
        "experiment_predictions": 0,
        "experiment_clicks": 0,
        "experiment_evidence_threshold": pytest.approx(math.log(20)),
        "experiment_verdict": 0,
        "experiment_mismatch": 0,
    }


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


def freeze(state: State) -> list[set[str]]:
    """Names of the experiment's numbers in each window of the baseline."""
    freezer = Freezer(
        history=state.history("s"),
        drift_samples=state.drift_samples("s"),
        sampled_windows=state.sampled_windows("s"),
        quality=QualityWatch(
            Cohorts(
                source=StoredWindows(state.history("s")),
                clicks=state.clicks,
                origin=None,
                attribution_seconds=60,
            ),
            window_seconds=3600,
            attribution_seconds=60,
            min_predictions=100,
        ),
        experiment=StoredExperiment(state.values, "s"),
        equivalence_margin=0.02,
        samples_per_window=100,
        outbox=state.outbox("s"),
        naming=RunNaming(source="s", window_seconds=WINDOW, experiment="n", service_version="1"),
        health_policy=HealthPolicy(error_rate_percent=5, latency_ms=1000, min_requests=20),
        health_window_seconds=300,
        grace_seconds=10,
    )
    freezer.freeze(now=0.0)
    [run] = state.outbox("s").kept_runs()
    entries = state.outbox("s").entries(run.key, EntryKind.WINDOW)
    return [
        {point.name for point in entry.points if point.name.startswith("experiment_")}
        for entry in entries
    ]


def test_only_the_window_at_whose_end_it_was_known_is_told(state: State) -> None:
    labels = (("model", "a"), ("version", "1"))
    for number in range(4 * WINDOW // 5):
        counters = {
            Series(f"{metric.name}_bucket", (("le", str(bound)), *labels)): float(number)
            for metric in (catalogue.REQUEST_DURATION, catalogue.PREDICTION)
            for bound in (*metric.bounds, math.inf)
        }
        at = START + 5 * number
        snapshot = Snapshot(at=at + 0.1, epoch=START, counters=counters, gauges={})
        state.history("s").append(at, snapshot)
    plan = Plan(
        name="x",
        key="x.1",
        fingerprint=1,
        weights={"a": 1.0, "b": 1.0},
        versions={"a": "1", "b": "7"},
    )
    begun = ExperimentState.begin(plan, START)
    # The bridge was down for two windows; the counts are as of the end of the third.
    known = replace(begun, at=START + 3 * WINDOW, arms=ARMS)
    StoredExperiment(state.values, "s").save(known)

    found = freeze(state)

    assert not any(found[:-1])
    assert {"experiment_ctr", "experiment_mismatch"} <= found[-1]
