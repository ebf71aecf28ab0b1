"""Drift detection between snapshots: restarts, resets, gaps, new baselines, and what is said."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from drift_traffic import MEAN, MIDNIGHT, STD, Traffic, captured, traffic

from service.monitoring.baseline import Baseline
from service.monitoring.buckets import LATENCY_BOUNDS, PREDICTION_BOUNDS
from service.monitoring.capture import capture
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import DriftStatus, Effects, Severity
from service.monitoring.drift.sample import DriftSample, thinned
from service.monitoring.drift.state import DriftState
from service.monitoring.drift.ticks import TICK_SECONDS, Ticks
from service.monitoring.drift.window_test import DriftThresholds
from service.monitoring.health import CheckStatus, HealthPolicy, judge
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import Window, since_counters_began, window_over
from service.sources.active_baselines import ActiveBaselines
from service.sources.drift_watch import DriftWatch
from service.state.store import State, open_state

SCOPE = "instance:test"
NORMAL = captured(traffic(1000, seed=1))
TOMORROW = MIDNIGHT + 86_400


def counters(ticks: Ticks) -> dict[Series, float]:
    """One tick's growth, as the registry would show it."""

    def of(name: str, **more: str) -> Series:
        labels = {"model": "xgboost", "version": "1", **more}
        return Series(name, tuple(sorted(labels.items())))

    found: dict[Series, float] = {of("ctr_requests_total", outcome="success"): 300.0}
    for name, quantity, bounds in (
        ("ctr_prediction_ratio", ticks.predictions, PREDICTION_BOUNDS),
        ("ctr_request_duration_seconds", ticks.latency, LATENCY_BOUNDS),
    ):
        for bound, count in zip(
            (*bounds, np.inf), np.cumsum(quantity.buckets[0]).tolist(), strict=True
        ):
            found[of(f"{name}_bucket", le=str(bound) if bound < np.inf else "+Inf")] = count
        found[of(f"{name}_sum")] = float(quantity.total[0])
        found[of(f"{name}_squared_total")] = float(quantity.squares[0])
    return found


@dataclass
class Counting:
    """A source of which the test adds to the counters."""

    rows: list[Snapshot] = field(default_factory=list)

    def serve(self, ticks: Ticks, *, epoch: float = 0.0) -> Iterator[Snapshot]:
        """Add tick after tick and give the snapshot after each."""
        for t in range(len(ticks)):
            one = ticks.part(slice(t, t + 1))
            before = self.rows[-1].counters if self.rows and self.rows[-1].epoch == epoch else {}
            after = {s: before.get(s, 0.0) + v for s, v in counters(one).items()}
            at = float(one.time[0])
            self.rows.append(Snapshot(at=at, epoch=epoch, counters=after, gauges={}))
            yield self.rows[-1]

    def snapshot(self) -> Snapshot:
        return self.rows[-1]

    def window(self, seconds: float, *, until: Snapshot) -> Window:
        start = until.at - seconds
        earlier = [row for row in self.rows if row.at <= start][-1:]
        between = [row for row in self.rows if start < row.at <= until.at]
        rows = [*earlier, *between]
        return window_over(rows) if earlier else since_counters_began(until)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(f"sqlite:///{tmp_path / 'state.db'}") as opened:
        yield opened


def watch(
    state: State, source: Counting, baseline: Baseline = NORMAL, *, materiality: float = 0.01
) -> DriftWatch:
    return DriftWatch(
        values=state.values,
        samples=state.drift_samples(SCOPE),
        scope=SCOPE,
        source=source,
        baselines=ActiveBaselines(lambda: {"xgboost": baseline}, state.baselines),
        materiality=materiality,
        thresholds=DriftThresholds(),
    )


def stored(state: State) -> DriftState:
    content = state.values.load(SCOPE, "drift:xgboost")
    assert content is not None
    return DriftState.from_json(content.decode())


def test_a_worker_that_takes_over_goes_on_where_the_last_one_was_killed(
    state: State, tmp_path: Path
) -> None:
    source = Counting()
    ticks = traffic(12, Traffic(mean=1.05 * MEAN, std=STD), seed=2, start=TOMORROW)
    for number, now in enumerate(source.serve(ticks)):
        watch(state, source).advance(now)  # every tick by another worker
        assert stored(state).time == ticks.time[number]

    single = Counting()
    with open_state(f"sqlite:///{tmp_path / 'other.db'}") as fresh:
        one = watch(fresh, single)
        for now in single.serve(ticks):
            one.advance(now)
        assert stored(fresh).to_json() == stored(state).to_json()


def test_a_reset_of_the_counters_is_no_drift(state: State) -> None:
    source, seen = Counting(), []
    for now in source.serve(traffic(20, seed=3, start=TOMORROW)):
        seen += watch(state, source).advance(now)
    later = traffic(20, seed=4, start=TOMORROW + 20 * 15)
    for now in source.serve(later, epoch=TOMORROW + 20 * 15):
        seen += watch(state, source).advance(now)

    assert {sight.report.status for sight in seen} == {DriftStatus.OK}
    # Each tick was seen once: 40 ticks of 300 predictions.
    assert stored(state).quantities[0].window[:, 1].sum() == 40 * 300


def test_missed_ticks_are_made_up_for_by_one_longer_tick(state: State) -> None:
    source = Counting()
    snapshots = list(source.serve(traffic(20, seed=5, start=TOMORROW)))
    one = watch(state, source)
    one.advance(snapshots[0])
    one.advance(snapshots[-1])

    assert stored(state).quantities[0].window[:, 1].sum() == 20 * 300


def test_a_new_baseline_begins_anew(state: State) -> None:
    source = Counting()
    shifted = Traffic(mean=1.3 * MEAN, std=1.3 * STD)
    for now in source.serve(traffic(10, shifted, seed=6, start=TOMORROW)):
        [sight] = watch(state, source).advance(now)
    assert sight.report.status is DriftStatus.DRIFT

    state.baselines.save(captured(traffic(1000, shifted, seed=7)))
    for now in source.serve(traffic(5, shifted, seed=8, start=TOMORROW + 150)):
        [sight] = watch(state, source).advance(now)

    assert sight.report.status is DriftStatus.OK


def test_an_alarm_ends_with_the_version_that_raised_it(state: State) -> None:
    source = Counting()
    shifted = Traffic(mean=1.3 * MEAN, std=1.3 * STD)
    for now in source.serve(traffic(10, shifted, seed=6, start=TOMORROW)):
        [sight] = watch(state, source).advance(now)
    assert sight.report.status is DriftStatus.DRIFT

    released = watch(state, source, replace(NORMAL, model_version="2"))
    report = released.report("xgboost")

    assert (report.status, report.drifts) == (DriftStatus.INSUFFICIENT_DATA, [])
    assert report.log_evidence is None
    assert report.observations == 0
    # The version of before comes back to what it was.
    assert watch(state, source).report("xgboost").status is DriftStatus.DRIFT


def test_a_report_has_the_effect_in_the_units_of_the_contract(state: State) -> None:
    source = Counting()
    what = Traffic(mean=1.3 * MEAN, std=1.3 * STD, latency=0.1, latency_std=0.027)
    for now in source.serve(traffic(10, what, seed=9, start=TOMORROW)):
        [sight] = watch(state, source).advance(now)

    report = watch(state, source).report("xgboost")

    by_kind = {drift.kind: drift for drift in report.drifts}
    shift, slow = by_kind[DriftKind.MEAN_SHIFT], by_kind[DriftKind.LATENCY_ANOMALY]
    assert shift.severity is Severity.HIGH
    assert shift.effect == pytest.approx(0.3, abs=0.05)
    assert shift.baseline == pytest.approx(MEAN, rel=0.01)
    assert shift.current == pytest.approx(1.3 * MEAN, rel=0.05)
    assert shift.since == pytest.approx(TOMORROW, abs=60)
    assert slow.baseline == pytest.approx(45.6, rel=0.02)
    assert slow.current == pytest.approx(100, rel=0.05)
    assert set(sight.log_evidence) >= {"mean", "location", "latency_mean"}
    assert not report.commissioning

    health = judge(
        "xgboost",
        report.counts,
        policy=HealthPolicy(error_rate_percent=5, latency_ms=1000, min_requests=20),
        decided={},
        drift=report,
    )
    assert [check.status for check in health.checks if check.name == "drift"] == [
        CheckStatus.WARNING
    ]
    assert any("mean shift" in alert for alert in health.alerts)


def test_evidence_and_effects_of_every_tick_are_remembered(state: State) -> None:
    source, evidence = Counting(), []
    what = Traffic(mean=1.3 * MEAN, std=1.3 * STD, latency=0.1, latency_std=0.027)
    for now in source.serve(traffic(10, what, seed=9, start=TOMORROW)):
        [sight] = watch(state, source).advance(now)
        evidence.append(sight.report.log_evidence)

    samples = watch(state, source).samples("xgboost", 100 * TICK_SECONDS)

    assert [sample.log_evidence for sample in samples] == evidence
    assert [sample.at for sample in samples] == [row.at for row in source.rows]
    last = samples[-1]
    assert last.effects.mean_shift == pytest.approx(0.3, abs=0.05)
    assert last.effects.variance_ratio == pytest.approx(1.69, abs=0.2)
    assert last.effects.latency_shift == pytest.approx(100 / 45.6 - 1, abs=0.1)
    assert {DriftKind.MEAN_SHIFT, DriftKind.LATENCY_ANOMALY} <= set(last.standing)


def test_thinned_samples_keep_the_peaks() -> None:
    samples = [
        DriftSample(
            at=float(i),
            model_version="1",
            log_evidence={7: 9.0, 12: 5.0}.get(i, 1.0),
            effects=Effects(),
            standing=(),
        )
        for i in range(20)
    ]

    assert [sample.at for sample in thinned(samples, 4)] == [0.0, 7.0, 12.0, 15.0]
    assert thinned(samples, 20) == samples


def test_a_state_that_cannot_be_read_is_begun_anew(state: State) -> None:
    state.values.save(SCOPE, "drift:xgboost", b"{}")
    source = Counting()
    for now in source.serve(traffic(2, seed=10, start=TOMORROW)):
        watch(state, source).advance(now)

    assert stored(state).time is not None


def test_another_materiality_begins_anew(state: State) -> None:
    source = Counting()
    for now in source.serve(traffic(5, seed=12, start=TOMORROW)):
        watch(state, source).advance(now)
    [now] = source.serve(traffic(1, seed=13, start=TOMORROW + 75))
    watch(state, source, materiality=0.05).advance(now)

    # One tick of 300, not six.
    assert stored(state).quantities[0].window[:, 1].sum() == 300


def test_a_baseline_in_other_buckets_is_known_by_its_moments(state: State) -> None:
    predictions = NORMAL.predictions
    assert predictions is not None
    moved = replace(predictions, bounds=predictions.bounds * 1.1)
    source = Counting()
    [now] = source.serve(traffic(1, seed=14, start=TOMORROW))

    [sight] = watch(state, source, replace(NORMAL, predictions=moved)).advance(now)

    assert sight.report.commissioning
    assert set(sight.log_evidence) == {"mean", "latency_mean", "latency_location"}


def test_predictions_that_did_not_vary_are_no_baseline_and_no_error(state: State) -> None:
    constant = replace(NORMAL, predictions=None, prediction_wander=None, std_prediction=0.0)
    source = Counting()
    [now] = source.serve(traffic(1, seed=15, start=TOMORROW))
    one = watch(state, source, constant)

    assert one.advance(now) == []
    assert one.report("xgboost").status is DriftStatus.NO_BASELINE


def test_the_evidence_of_a_report_is_the_greater_of_both_quantities(state: State) -> None:
    source = Counting()
    slow = Traffic(latency=0.1, latency_std=0.027)
    for now in source.serve(traffic(5, slow, seed=16, start=TOMORROW)):
        [sight] = watch(state, source).advance(now)

    predictions, latency = (quantity.log_evidence for quantity in stored(state).quantities)
    assert predictions < 10
    assert sight.report.log_evidence == latency > 16.99


def test_a_capture_measures_the_wander_between_its_ticks() -> None:
    ticks = traffic(600, seed=11, start=MIDNIGHT, wander=0.03)
    source = Counting()
    rows = list(source.serve(ticks))
    whole = window_over(rows)

    baseline = capture(
        "xgboost",
        "1",
        [whole],
        ticks=[window_over(pair) for pair in pairwise(rows)],
        min_predictions=100,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="test",
        note="",
    )

    assert baseline.prediction_wander is not None
    assert baseline.prediction_wander.ticks == 599
    assert baseline.prediction_wander.fitted().variance[0] > 0
