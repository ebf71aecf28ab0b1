"""Drift of features between snapshots: restarts, resets, baselines without features, answers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from drift_traffic import four_numbers
from feature_traffic import CountedFeatures

from benchmarks.feature_changes import CHANGES, after
from benchmarks.feature_streams import MONDAY, Tick, Traffic, World, baseline
from service.api.feature_schemas import FeatureDriftBody
from service.monitoring.baseline import Baseline
from service.monitoring.feature_drift.budget import LOG_THRESHOLD
from service.monitoring.feature_drift.report import FeatureDrift
from service.monitoring.feature_drift.state import FeatureState
from service.sources.active_baselines import ActiveBaselines
from service.sources.feature_watch import FeatureWatch
from service.state.store import State, open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.judgements import JudgementGauges
from service.telemetry.registry import registry_of

SCOPE = "instance:test"
TOMORROW = MONDAY + 86_400
MODEL, VERSION = "xgboost", "1"


@cache
def known() -> Baseline:
    features = baseline(Traffic(World(), 1), start=MONDAY, days=1)
    return replace(four_numbers(), features=features)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def source() -> CountedFeatures:
    return CountedFeatures(MODEL, VERSION)


def watch(state: State, source: CountedFeatures, trained: Baseline | None = None) -> FeatureWatch:
    return FeatureWatch(
        values=state.values,
        scope=SCOPE,
        source=source,
        baselines=ActiveBaselines(lambda: {MODEL: trained or known()}, state.baselines),
        window_seconds=3600,
        min_predictions=100,
    )


def some(ticks: int, change: str | None = None, *, first: int = 0) -> Iterator[Tick]:
    altered = None if change is None else after(CHANGES[change][1], 0.0)
    for number, tick in enumerate(Traffic(World(), 1).day(TOMORROW, altered)):
        if number >= first + ticks:
            return
        if number >= first:
            yield tick


def rows(ticks: Iterator[Tick]) -> Iterator[tuple[float, dict[tuple[str, str], float]]]:
    return ((tick.end, tick.by_value()) for tick in ticks)


def stored(state: State) -> FeatureState:
    content = state.values.load(SCOPE, f"features:{MODEL}")
    assert content is not None
    return FeatureState.from_json(content.decode())


def feature(found: list[FeatureDrift], name: str) -> FeatureDrift:
    return next(one for one in found if one.feature == name)


def test_a_worker_that_takes_over_goes_on_where_the_last_one_was_killed(
    state: State, source: CountedFeatures, tmp_path: Path
) -> None:
    for now in source.serve(rows(some(30))):
        watch(state, source).advance(now)  # every tick by another worker

    single = CountedFeatures(MODEL, VERSION)
    with open_state(tmp_path / "other.db") as fresh:
        one = watch(fresh, single)
        for now in single.serve(rows(some(30))):
            one.advance(now)
        assert stored(fresh).to_json() == stored(state).to_json()


def test_a_reset_of_the_counters_counts_every_row_once(
    state: State, source: CountedFeatures
) -> None:
    one = watch(state, source)
    for now in source.serve(rows(some(10))):
        one.advance(now)
    for now in source.serve(rows(some(5, first=10)), epoch=TOMORROW + 150):
        one.advance(now)

    pending = stored(state).pending
    assert pending is not None
    expected = sum(tick.counts["device"].sum() for tick in some(15))
    assert pending.counts.sum() == 5 * expected  # every feature but the weekday


def test_a_change_is_in_the_answer_with_its_beginning(
    state: State, source: CountedFeatures
) -> None:
    one = watch(state, source)
    for now in source.serve(rows(some(40, "hour shifted by one"))):
        [sight] = one.advance(now)

    found = feature(list(sight.features), "hour")
    body = FeatureDriftBody.of(found).model_dump(mode="json")

    assert found.drift_detected
    assert body["log_evidence"] > body["log_evidence_threshold"] == LOG_THRESHOLD
    assert abs(datetime.fromisoformat(body["since"]).timestamp() - TOMORROW) < 600
    assert body["moved"][0]["value"] in {"clock", "clock+1"}
    assert body["unseen_rate"] is body["reason"] is None
    assert not feature(list(sight.features), "device").drift_detected


def test_a_single_day_s_baseline_decides_nothing_about_weekdays(
    state: State, source: CountedFeatures
) -> None:
    one = watch(state, source)
    for now in source.serve(rows(some(3))):
        [sight] = one.advance(now)

    found = feature(list(sight.features), "day_of_week")

    assert found.log_evidence is found.psi is found.since is None
    assert "1 of 7" in (found.reason or "")


def test_a_baseline_without_counts_of_features_has_none(
    state: State, source: CountedFeatures
) -> None:
    one = watch(state, source, four_numbers())
    [now] = source.serve(rows(some(1)))

    [sight] = one.advance(now)

    assert sight.features == []
    assert state.values.load(SCOPE, f"features:{MODEL}") is None


def test_a_new_baseline_begins_anew(state: State, source: CountedFeatures) -> None:
    one = watch(state, source)
    for now in source.serve(rows(some(20, "hour shifted by one"))):
        one.advance(now)
    state.baselines.save(replace(known(), created_at=datetime(2026, 2, 1, tzinfo=UTC)))
    for now in source.serve(rows(some(1, first=20))):
        [sight] = one.advance(now)

    assert feature(list(sight.features), "hour").log_evidence == 0
    pending = stored(state).pending
    assert pending is not None
    assert pending.ticks == 1


def test_an_alarm_ends_with_the_baseline_that_it_was_held_against(
    state: State, source: CountedFeatures
) -> None:
    one = watch(state, source)
    for now in source.serve(rows(some(40, "hour shifted by one"))):
        one.advance(now)
    end = stored(state).time
    assert end is not None
    assert feature(list(one.report(MODEL, end).features), "hour").drift_detected

    state.baselines.save(replace(known(), created_at=datetime(2026, 2, 1, tzinfo=UTC)))

    found = feature(list(one.report(MODEL, end).features), "hour")
    assert not found.drift_detected
    assert found.log_evidence is None


def test_a_state_that_cannot_be_read_is_begun_anew(state: State, source: CountedFeatures) -> None:
    state.values.save(SCOPE, f"features:{MODEL}", b"{}")
    [now] = source.serve(rows(some(1)))

    watch(state, source).advance(now)

    assert stored(state).time == now.at


def test_another_version_s_counters_do_not_count(state: State) -> None:
    old = CountedFeatures(MODEL, "0")
    [now] = old.serve(rows(some(1)))

    watch(state, old).advance(now)

    pending = stored(state).pending
    assert pending is not None
    assert pending.counts.sum() == 0


def test_gauges_show_what_is_known_and_nothing_else(
    state: State, source: CountedFeatures, tmp_path: Path
) -> None:
    one = watch(state, source)
    for now in source.serve(rows(some(40, "hour shifted by one"))):
        [sight] = one.advance(now)
    folder = MetricsFolder.begin(tmp_path / "metrics", now=1000.0)
    files = folder.join()
    gauges = JudgementGauges(files)
    gauges.show_features(sight.model, sight.version, sight.features)
    gauges.flush()

    shown = {
        (sample.name, sample.labels.get("feature")): sample.value
        for family in registry_of(folder).collect()
        for sample in family.samples
    }
    files.close()

    ad, hour = feature(list(sight.features), "ad"), feature(list(sight.features), "hour")
    assert shown["ctr_feature_drift_active", "hour"] == 1
    assert shown["ctr_feature_drift_active", "ad"] == 0
    assert shown["ctr_feature_drift_log_evidence", "hour"] == hour.log_evidence
    assert shown["ctr_feature_drift_log_evidence_threshold", None] == LOG_THRESHOLD
    assert shown["ctr_feature_psi_ratio", "ad"] == ad.psi
    assert shown["ctr_feature_unseen_ratio", "ad"] == ad.unseen_rate
    assert shown["ctr_baseline_feature_unseen_ratio", "ad"] == ad.baseline_unseen_rate
    assert ("ctr_feature_unseen_ratio", "hour") not in shown
    assert not any(name.startswith("ctr_feature") and f == "day_of_week" for name, f in shown)
