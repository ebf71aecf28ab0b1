"""Calibration between minutes: each cohort once, through restarts, outages and new versions."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drift_traffic import captured, traffic

from service.api.drift_schemas import CalibrationBody
from service.monitoring import catalogue
from service.monitoring.calibration.report import CalibrationReport
from service.monitoring.calibration.state import CalibrationState
from service.monitoring.calibration.ticks import Miscalibration
from service.monitoring.clicks import Click
from service.monitoring.counts import ModelVersion
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.report import DriftStatus, Severity
from service.monitoring.drift.window_test import DriftThresholds
from service.monitoring.health import CheckStatus, HealthPolicy, HealthStatus, judge
from service.monitoring.snapshot import Series, Snapshot
from service.sources.active_baselines import ActiveBaselines
from service.sources.calibration_watch import CalibrationWatch
from service.sources.cohorts import Cohorts
from service.sources.drift_watch import DriftWatch
from service.sources.history_source import HistorySource
from service.state.store import State, open_state

SCOPE = "instance:test"
BASELINE = captured(traffic(1000, seed=1))
MODEL = ModelVersion("xgboost", "1")
ATTRIBUTION = 600
HERE = 7
PER_MINUTE, SCORE = 400, 0.1
START = 1_700_006_400


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


def reading(minute: int, *, epoch: float = 1.0, version: str = "1") -> Snapshot:
    """So many predictions of 0.1 since the start."""
    labels = (("model", "xgboost"), ("version", version))
    n = float(PER_MINUTE * minute)
    bucket, requests = f"{catalogue.PREDICTION.name}_bucket", catalogue.REQUESTS.name
    counters = {
        Series(bucket, (("le", str(bound)), *labels)): n if bound >= SCORE else 0.0
        for bound in catalogue.PREDICTION.bounds
    }
    counters |= {
        Series(bucket, (("le", "+Inf"), *labels)): n,
        Series(f"{catalogue.PREDICTION.name}_sum", labels): SCORE * n,
        Series(catalogue.PREDICTION_SQUARED.name, labels): SCORE**2 * n,
        Series(requests, tuple(sorted((("outcome", "success"), *labels)))): n,
    }
    return Snapshot(at=START + 60 * minute + 0.02, epoch=epoch, counters=counters, gauges={})


def serve(state: State, minutes: range, ratio: float = 1.0, version: str = "1") -> None:
    """Store the history of some minutes, and the clicks on their predictions."""
    rng = np.random.default_rng(minutes.start)
    history = state.history(SCOPE)
    for minute in minutes:
        history.append(START + 60 * (minute + 1), reading(minute + 1, version=version))
        clicks = rng.binomial(PER_MINUTE, ratio * SCORE)
        state.clicks.count(
            [
                Click(
                    key=secrets.token_bytes(16),
                    origin=HERE,
                    model="xgboost",
                    version=version,
                    milliseconds=1000 * (START + 60 * minute + 30),
                    prediction=SCORE,
                    experiment=0,
                    cell=None,
                )
                for _ in range(clicks)
            ]
        )


def ripe_at(minute: int) -> float:
    """When the clicks of the predictions before a minute are complete."""
    return START + 60.0 * minute + ATTRIBUTION + 1


def watch(state: State, *, zone: float = 0.1) -> CalibrationWatch:
    source = HistorySource(lambda: reading(1000), state.history(SCOPE))
    return CalibrationWatch(
        values=state.values,
        scope=SCOPE,
        cohorts=Cohorts(
            source=source,
            clicks=state.clicks,
            origin=HERE,
            attribution_seconds=ATTRIBUTION,
        ),
        baselines=ActiveBaselines(lambda: {"xgboost": BASELINE}, state.baselines),
        zone=zone,
    )


def begin(state: State) -> None:
    state.history(SCOPE).append(START, reading(0))
    watch(state).advance(START + 5.0)


def stored(state: State) -> CalibrationState:
    content = state.values.load(SCOPE, "calibration:xgboost")
    assert content is not None
    return CalibrationState.from_json(content.decode())


def told(state: State) -> CalibrationReport:
    return watch(state).report(MODEL)


def test_before_any_click_is_complete_nothing_is_said(state: State) -> None:
    assert told(state).until is None
    begin(state)
    serve(state, range(5))
    watch(state).advance(ripe_at(0) - 1)

    found = told(state)

    assert (found.clicks, found.log_evidence, found.shift) == (0, None, None)
    assert not found.decided
    body = CalibrationBody.of(found)
    assert body.status is DriftStatus.INSUFFICIENT_DATA
    assert body.clicks_needed == 30


def test_a_minute_is_folded_once_its_clicks_are_complete(state: State) -> None:
    begin(state)
    serve(state, range(5))

    for minute, folded in ((3, 3), (3, 3), (4, 4)):
        for _ in range(2):
            watch(state).advance(ripe_at(minute))
        assert stored(state).end == START + 60 * folded + 0.02

    found = told(state)
    assert found.decided
    clicks = state.clicks.sums(MODEL, START, START + 240, origin=HERE).count
    assert found.clicks == clicks


@pytest.mark.parametrize("ratio", [0.5, 1.6])
def test_clicks_that_do_not_come_as_predicted_are_told_of_everywhere(
    state: State, ratio: float
) -> None:
    begin(state)
    serve(state, range(30))
    serve(state, range(30, 70), ratio)
    for minute in range(1, 71):
        watch(state).advance(ripe_at(minute))

    found = told(state)

    assert found.shift is not None
    assert found.shift.form is Miscalibration.LEVEL
    assert found.shift.since == pytest.approx(START + 30 * 60, abs=180)
    assert found.shift.ratio == pytest.approx(1 / ratio, rel=0.1)
    drift = DriftWatch(
        values=state.values,
        samples=state.drift_samples(SCOPE),
        scope=SCOPE,
        source=HistorySource(lambda: reading(71), state.history(SCOPE)),
        baselines=ActiveBaselines(lambda: {"xgboost": BASELINE}, state.baselines),
        materiality=0.01,
        thresholds=DriftThresholds(),
        calibration=watch(state),
    )
    report = drift.report("xgboost")
    [shift] = report.drifts
    assert (report.status, report.baseline_status) == (DriftStatus.DRIFT, DriftStatus.OK)
    assert shift.severity is Severity.HIGH
    assert shift.effect == pytest.approx(ratio - 1, abs=0.1)
    assert shift.log_evidence >= LOG_THRESHOLD
    assert found.log_evidence_by_channel["calibration_level"] >= LOG_THRESHOLD
    health = judge(
        "xgboost",
        report.counts,
        policy=HealthPolicy(error_rate_percent=5, latency_ms=1000, min_requests=20),
        decided={},
        drift=report,
    )
    checks = {check.name: check.status for check in health.checks}
    assert checks["calibration"] is CheckStatus.WARNING
    assert checks["drift"] is CheckStatus.OK
    assert health.status is HealthStatus.WARNING
    [alert] = health.alerts
    assert ("fewer" if ratio < 1 else "more") in alert


def test_clicks_that_come_as_predicted_are_no_drift(state: State) -> None:
    begin(state)
    serve(state, range(70))
    watch(state).advance(ripe_at(70))

    found = told(state)

    assert found.decided
    assert found.shift is None
    assert CalibrationBody.of(found).status is DriftStatus.OK


def test_one_by_one_and_after_an_outage_comes_to_the_same(state: State, tmp_path: Path) -> None:
    begin(state)
    serve(state, range(40))
    for minute in range(1, 41):
        watch(state).advance(ripe_at(minute))
    with open_state(tmp_path / "other.db") as other:
        begin(other)
        serve(other, range(40))

        watch(other).advance(ripe_at(40))

        one, two = stored(state), stored(other)
    assert (one.end, one.clicks) == (two.end, two.clicks)
    assert one.log_evidence == pytest.approx(two.log_evidence)
    assert one.cells == pytest.approx(two.cells)


def test_a_long_outage_is_made_up_for_in_parts(state: State) -> None:
    begin(state)
    history = state.history(SCOPE)
    for minute in range(1, 301):
        history.append(START + 60 * minute, reading(minute))

    watch(state).advance(ripe_at(300))
    assert stored(state).end == START + 60 * 240 + 0.02
    watch(state).advance(ripe_at(300))
    assert stored(state).end == START + 60 * 300 + 0.02


def test_a_gap_in_the_history_is_one_longer_cohort(state: State) -> None:
    begin(state)
    serve(state, range(3))
    watch(state).advance(ripe_at(3))
    watch(state).advance(ripe_at(6))
    assert stored(state).end == START + 180.02
    serve(state, range(9, 11))

    watch(state).advance(ripe_at(11))

    assert stored(state).end == START + 660.02
    runs = [run for level in stored(state).recent for run in level]
    assert sum(run[2] for run in runs) == pytest.approx(11 * PER_MINUTE * SCORE)


@pytest.mark.parametrize("content", [b"{}", b"no json", None])
def test_a_state_that_cannot_be_used_is_begun_anew_from_now(
    state: State, content: bytes | None
) -> None:
    begin(state)
    serve(state, range(30), 0.2)
    watch(state).advance(ripe_at(30))
    assert told(state).shift is not None

    if content is not None:
        state.values.save(SCOPE, "calibration:xgboost", content)
    fresh = watch(state) if content is not None else watch(state, zone=0.2)
    fresh.advance(ripe_at(31))

    assert fresh.report(MODEL).shift is None
    assert stored(state).clicks == 0
    assert stored(state).end == START + 60 * 31 + ATTRIBUTION
