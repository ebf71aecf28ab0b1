"""From a stored history to the outbox: nothing is lost, counted twice, or said too early."""

import itertools
import math
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString

from bridge.freezing import Freezer
from bridge.runs import RunNaming
from bridge.windows import SECONDS_PER_DAY
from service.monitoring import catalogue
from service.monitoring.clicks import Click
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import Effects
from service.monitoring.drift.sample import DriftSample
from service.monitoring.health import HealthPolicy
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.tracking import EntryKind, TrackedRun
from service.sources.cohorts import Cohorts
from service.sources.quality_watch import QualityWatch
from service.sources.stored_windows import StoredWindows
from service.state.experiments import StoredExperiment
from service.state.store import State, open_state

MIDNIGHT = 20_500 * SECONDS_PER_DAY
WINDOW, TICK, GRACE = 300, 5, 10
ATTRIBUTION = 600
scopes = itertools.count()


@dataclass(frozen=True)
class Bench:
    """One scope: its history, written as launcher and ticker do, and its outbox."""

    state: State
    scope: str

    @property
    def freezer(self) -> Freezer:
        return Freezer(
            history=self.state.history(self.scope),
            drift_samples=self.state.drift_samples(self.scope),
            quality=QualityWatch(
                Cohorts(
                    source=StoredWindows(self.state.history(self.scope)),
                    clicks=self.state.clicks,
                    origin=None,
                    attribution_seconds=ATTRIBUTION,
                ),
                window_seconds=SECONDS_PER_DAY,
                attribution_seconds=ATTRIBUTION,
                min_predictions=100,
            ),
            sampled_windows=self.state.sampled_windows(self.scope),
            samples_per_window=100,
            experiment=StoredExperiment(self.state.values, self.scope),
            equivalence_margin=0.02,
            outbox=self.state.outbox(self.scope),
            naming=RunNaming(
                source=self.scope, window_seconds=WINDOW, experiment="none", service_version="1"
            ),
            health_policy=HealthPolicy(error_rate_percent=5, latency_ms=1000, min_requests=20),
            health_window_seconds=300,
            grace_seconds=GRACE,
        )

    def freeze(self) -> int:
        return self.freezer.freeze(now=0.0)

    def begin(self, epoch: float) -> None:
        """Begin a life as the launcher does."""
        zero = Snapshot(at=epoch, epoch=epoch, counters={}, gauges={})
        self.state.history(self.scope).append(epoch, zero)

    def tick(self, at: float, epoch: float, counters: Mapping[Series, float]) -> None:
        snapshot = Snapshot(at=at + 0.25, epoch=epoch, counters=counters, gauges={})
        self.state.history(self.scope).append(at, snapshot)

    def end(self, at: float, epoch: float, counters: Mapping[Series, float]) -> None:
        snapshot = Snapshot(at=at, epoch=epoch, counters=counters, gauges={})
        self.state.history(self.scope).append_final(snapshot)

    def clicks(self, minute: float, count: int) -> None:
        """Count clicks on predictions of a minute."""
        self.state.clicks.count(
            [
                Click(
                    key=secrets.token_bytes(16),
                    origin=0,
                    model="clicked",
                    version=self.scope,
                    milliseconds=int(minute) * 1000,
                    prediction=0.03,
                    experiment=0,
                    cell=None,
                )
                for _ in range(count)
            ]
        )

    def live(self, start: float, end: float, *, rate: float = 1, version: str = "1") -> None:
        """Serve ``rate`` requests before every tick, from ``start`` to ``end``."""
        self.begin(start)
        first = int(start // TICK) + 1
        for number, tick in enumerate(range(first * TICK, int(end) + 1, TICK), start=1):
            self.tick(tick, start, totals(rate * number, version=version))

    def runs(self) -> Sequence[TrackedRun]:
        return self.state.outbox(self.scope).kept_runs()

    def windows(self, run: TrackedRun) -> Mapping[int, Mapping[str, float]]:
        """Numbers of each window, by its number in the day."""
        found = self.state.outbox(self.scope).entries(run.key, EntryKind.WINDOW)
        first = run.start_ms // 1000 // WINDOW
        return {e.step - first: {p.name: p.value for p in e.points} for e in found}

    def requests(self, run: TrackedRun) -> Mapping[int, float]:
        return {n: window["requests_in_window"] for n, window in self.windows(run).items()}

    def last_word(self, run: TrackedRun) -> tuple[Mapping[str, float], int | None]:
        [entry] = self.state.outbox(self.scope).entries(run.key, EntryKind.CLOSE)
        return {point.name: point.value for point in entry.points}, entry.end_ms


def totals(
    requests: float, *, errors: float = 0, model: str = "xgboost", version: str = "1"
) -> dict[Series, float]:
    """Counters of a model that answers in 20 ms and predicts 0.03."""
    labels = (("model", model), ("version", version))

    def histogram(metric: catalogue.Metric, squares: catalogue.Metric, value: float) -> None:
        for le in (*map(floatToGoString, metric.bounds), "+Inf"):
            there = requests if float(le) >= value else 0.0
            counters[Series(f"{metric.name}_bucket", (("le", le), *labels))] = there
        counters[Series(f"{metric.name}_sum", labels)] = requests * value
        counters[Series(squares.name, labels)] = requests * value**2

    counters: dict[Series, float] = {
        Series(catalogue.PREDICTION_NEGATIVE_LOG_COMPLEMENT.name, labels): -requests
        * math.log1p(-0.03)
    }
    for outcome, count in (("success", requests - errors), ("error", errors)):
        counters[Series("ctr_requests_total", (*labels[:1], ("outcome", outcome), labels[1]))] = (
            count
        )
    histogram(catalogue.REQUEST_DURATION, catalogue.REQUEST_DURATION_SQUARED, 0.02)
    histogram(catalogue.PREDICTION, catalogue.PREDICTION_SQUARED, 0.03)
    return counters


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with open_state(tmp_path_factory.mktemp("state") / "state.db") as opened:
        yield opened


@pytest.fixture
def bench(state: State) -> Bench:
    return Bench(state, f"instance:{next(scopes)}")


def clock(hour: float, minute: float = 0, second: float = 0) -> float:
    return MIDNIGHT + 3600 * hour + 60 * minute + second


# When


def test_a_window_is_frozen_when_the_history_goes_on_for_long_enough_after_it(
    bench: Bench,
) -> None:
    start, epoch = clock(10), clock(10, 0, 2)
    bench.begin(epoch)
    for second in range(5, 310, 5):
        bench.tick(start + second, epoch, totals(second))
        assert bench.freeze() == 0

    bench.tick(start + 310, epoch, totals(310))

    assert bench.freeze() == 1
    assert bench.freeze() == 0
    [run] = bench.runs()
    assert bench.requests(run) == {120: 300}


def test_without_a_history_nothing_is_frozen(bench: Bench) -> None:
    assert bench.freeze() == 0
    assert bench.runs() == []


def test_the_windows_of_a_service_that_was_down_have_no_points(bench: Bench) -> None:
    bench.live(clock(1), clock(1, 10))
    bench.end(clock(1, 10, 2), clock(1), totals(123))
    bench.live(clock(4, 31), clock(4, 40, 10))
    bench.freeze()

    [run] = bench.runs()

    # 12 to 13: 60 requests each and then the 3 last words; 54 begins a minute late.
    assert bench.requests(run) == {12: 60, 13: 60, 14: 3, 54: 48, 55: 60}


def test_the_last_totals_of_a_killed_service_land_in_their_window_though_they_come_late(
    bench: Bench,
) -> None:
    bench.live(clock(1), clock(1, 3))
    bench.freeze()
    assert bench.runs() == []
    bench.end(clock(1, 3, 2), clock(1), totals(1000))
    bench.live(clock(2), clock(2, 5, 10))
    bench.freeze()

    [run] = bench.runs()
    assert bench.requests(run) == {12: 1000, 24: 60}


def test_a_new_life_that_has_outgrown_the_old_counts_in_full(bench: Bench) -> None:
    bench.live(clock(1), clock(1, 6))  # 72 requests.
    bench.begin(clock(1, 6, 30))
    bench.tick(clock(1, 7), clock(1, 6, 30), totals(100))
    bench.tick(clock(1, 11), clock(1, 6, 30), totals(100))
    bench.freeze()

    [run] = bench.runs()
    assert bench.requests(run) == {12: 60, 13: 112}


def test_the_first_moments_of_the_first_life_count_also_after_thinning(bench: Bench) -> None:
    epoch = clock(1, 4, 30)
    bench.live(epoch, clock(4))
    bench.state.history(bench.scope).thin(clock(4))
    bench.freeze()

    [run] = bench.runs()
    assert bench.requests(run)[12] == 6
    assert bench.windows(run)[12]["window_seconds"] == 30.25


# What


def test_a_window_says_what_happened_in_it(bench: Bench) -> None:
    bench.begin(clock(1))
    bench.tick(clock(1, 5), clock(1), totals(40, errors=10))
    bench.tick(clock(1, 10), clock(1), totals(100, errors=13))
    bench.tick(clock(1, 11), clock(1), totals(100, errors=13))
    bench.freeze()

    [run] = bench.runs()
    first, second = bench.windows(run).values()

    assert first["error_rate"] == 25.0
    assert second["error_rate"] == 5.0
    assert second["xgboost_error_rate"] == 5.0
    assert (second["requests_in_window"], second["total_requests"]) == (60, 100)
    assert second["errors_in_window"] == 3
    assert second["requests_per_minute"] == 12
    assert second["window_seconds"] == 300
    assert second["avg_latency_ms"] == pytest.approx(20)
    assert second["mean_prediction"] == pytest.approx(0.03)
    assert (first["health_status"], second["health_status"]) == (2, 0)
    [entry, _] = bench.state.outbox(bench.scope).entries(run.key, EntryKind.WINDOW)
    assert {(p.timestamp_ms, p.step) for p in entry.points} == {
        (int(clock(1, 5)) * 1000, int(clock(1)) // 300)
    }


def test_a_window_says_what_drift_detection_said_last_in_it(bench: Bench) -> None:
    bench.live(clock(1), clock(1, 11))
    samples = bench.state.drift_samples(bench.scope)
    for tick, evidence, version in [
        (clock(1), 1.0, "1"),  # Of the window before.
        (clock(1, 4), 2.0, "1"),
        (clock(1, 5), 3.0, "1"),
        (clock(1, 5), 9.0, "2"),
        (clock(1, 6), 4.0, "0"),
    ]:
        sample = DriftSample(
            at=tick,
            model_version=version,
            log_evidence=evidence,
            effects=Effects(mean_shift=0.1),
            standing=(DriftKind.MEAN_SHIFT,),
        )
        samples.append(int(tick), "xgboost", sample)
    bench.freeze()

    [run] = bench.runs()
    first, second = bench.windows(run).values()

    assert first["drift_log_evidence"] == 3.0
    assert (first["drift_detected"], first["drift_mean_shift"]) == (1, 0.1)
    assert first["health_status"] == 1
    assert not {name for name in second if "drift" in name}


def test_a_window_tells_the_quality_that_was_known_at_its_end(bench: Bench) -> None:
    start = clock(1)
    bench.begin(start)
    for minute in range(1, 21):
        counters = totals(120 * minute, model="clicked", version=bench.scope)
        bench.tick(start + 60 * minute, start, counters)
        bench.clicks(start + 60 * (minute - 1), 5)
    bench.tick(start + 1210, start, counters)
    bench.freeze()

    [run] = bench.runs()
    windows = bench.windows(run)

    # Clicks may come for ten minutes: at 1:15 the first five minutes are judged, at 1:20 ten.
    assert [name for n in (12, 13) for name in windows[n] if "quality" in name] == []
    for number, minutes in ((14, 5), (15, 10)):
        told = windows[number]
        assert told["quality_predictions"] == 120 * minutes
        assert told["clicked_quality_clicks"] == told["quality_clicks"] == 5 * minutes
        assert told["quality_calibration_ratio"] == pytest.approx(0.03 * 120 / 5)
        low, high = (told[f"quality_calibration_ratio_{end}"] for end in ("low", "high"))
        assert low < 0.72 < high
        # By hand: of 24 predictions one is clicked.
        loss = -(math.log(0.03) + 23 * math.log(0.97)) / 24
        assert told["quality_log_loss"] == pytest.approx(loss, rel=1e-9)
        assert told["quality_auc"] == 0.5


def test_a_day_is_closed_with_its_aggregates_and_the_next_begins_at_zero(bench: Bench) -> None:
    bench.live(clock(23, 40), clock(24, 10, 10))
    bench.freeze()

    yesterday, today = bench.runs()

    assert (yesterday.day, today.day) == ("2026-02-16", "2026-02-17")
    assert bench.requests(yesterday) == {284: 60, 285: 60, 286: 60, 287: 60}
    assert bench.requests(today) == {0: 60, 1: 60}
    assert [w["total_requests"] for w in bench.windows(today).values()] == [60, 120]
    numbers, end_ms = bench.last_word(yesterday)
    assert numbers["day/requests"] == 240
    assert numbers["day/windows_present"] == numbers["day/windows_expected"] == 4
    assert numbers["day/completeness"] == 1.0
    assert end_ms == (MIDNIGHT + SECONDS_PER_DAY) * 1000
    assert bench.state.outbox(bench.scope).unclosed() == [today]


def test_hours_without_the_service_do_not_make_a_day_incomplete(bench: Bench) -> None:
    bench.live(clock(1), clock(1, 10))
    bench.live(clock(30), clock(30, 10, 10))
    bench.freeze()

    yesterday, _ = bench.runs()
    numbers, _ = bench.last_word(yesterday)

    assert (numbers["day/windows_present"], numbers["day/completeness"]) == (2, 1.0)


def test_a_window_that_was_not_frozen_makes_a_day_incomplete(bench: Bench) -> None:
    bench.live(clock(23, 40), clock(24, 0, 5))
    outbox = bench.state.outbox(bench.scope)
    outbox.freeze((), (), at=0.0, until=clock(23, 45))  # As an earlier release left it.
    bench.tick(clock(24, 0, 10), clock(23, 40), totals(300))
    bench.freeze()

    [run] = bench.runs()
    numbers, _ = bench.last_word(run)

    assert (numbers["day/windows_present"], numbers["day/windows_expected"]) == (3, 4)
    assert numbers["day/completeness"] == 0.75


def test_a_day_is_not_more_than_complete_after_its_history_was_thinned(bench: Bench) -> None:
    bench.live(clock(21, 4, 30), clock(21, 20))
    bench.freeze()
    bench.state.history(bench.scope).thin(clock(24))
    bench.live(clock(23, 55), clock(24, 0, 10))
    bench.freeze()

    [run] = bench.runs()
    numbers, _ = bench.last_word(run)

    assert numbers["day/windows_expected"] == 5
    assert numbers["day/completeness"] == 1.0


def test_another_version_has_a_run_of_its_own(bench: Bench) -> None:
    bench.live(clock(1), clock(1, 7), version="1")
    bench.begin(clock(1, 7, 30))
    for minute, requests in ((8, 5), (10, 7), (15, 9), (16, 9)):
        bench.tick(
            clock(1, minute),
            clock(1, 7, 30),
            totals(0, version="1") | totals(requests, version="2"),
        )
    bench.freeze()

    old, new = bench.runs()

    assert (old.model_version, new.model_version) == ("1", "2")
    assert bench.requests(old) == {12: 60, 13: 24}
    assert bench.requests(new) == {13: 7, 14: 2}


def test_every_hour_the_aggregates_so_far_are_told(bench: Bench) -> None:
    bench.live(clock(1, 50), clock(2, 10, 10))
    bench.freeze()

    [run] = bench.runs()
    [so_far] = bench.state.outbox(bench.scope).entries(run.key, EntryKind.DAY)

    assert so_far.step == int(clock(1, 55)) // 300
    assert {p.name: p.value for p in so_far.points}["day/requests"] == 120


# Always


@dataclass(frozen=True)
class Life:
    """One life of the service, in ticks."""

    pause: int
    steps: Sequence[tuple[int, int]]
    """For each tick how many after the one before, and requests served between them."""
    after: int | None
    """Requests served after the last tick, where the launcher finds the totals."""
    new_version: bool
    bridge_runs: bool
    thinned: bool


LIVES = st.lists(
    st.builds(
        Life,
        pause=st.integers(1, 150),
        steps=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), min_size=1, max_size=12),
        after=st.none() | st.integers(0, 9),
        new_version=st.booleans(),
        bridge_runs=st.booleans(),
        thinned=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lives=LIVES, start=st.integers(-400, -1))
def test_the_windows_add_up_to_all_that_was_served(
    state: State, lives: list[Life], start: int
) -> None:
    bench = Bench(state, f"instance:{next(scopes)}")
    served: defaultdict[str, float] = defaultdict(float)
    at, version = MIDNIGHT + TICK * start, 1
    for life in lives:
        at += TICK * life.pause
        version += life.new_version
        epoch, count = at - 3.5, 0.0
        bench.begin(epoch)
        for steps, requests in life.steps:
            at += TICK * steps
            count += requests
            bench.tick(at, epoch, totals(count, version=str(version)))
            if life.bridge_runs:
                bench.freeze()
        if life.after is not None:
            count += life.after
            bench.end(at + 1.5, epoch, totals(count, version=str(version)))
        if life.thinned:
            state.history(bench.scope).thin(at, ticks_kept_seconds=0)
        served[str(version)] += count
    at += WINDOW - at % WINDOW + GRACE
    bench.begin(at)  # Everything before is over.
    bench.freeze()

    written: defaultdict[str, float] = defaultdict(float)
    for run in bench.runs():
        windows = bench.requests(run)
        written[run.model_version] += sum(windows.values())
        running = list(itertools.accumulate(windows.values()))
        assert [w["total_requests"] for w in bench.windows(run).values()] == running
        if run.start_ms < 1000 * (at - SECONDS_PER_DAY):
            numbers, _ = bench.last_word(run)
            assert numbers["day/completeness"] == 1.0
            assert numbers["day/requests"] == running[-1]
    assert {v: n for v, n in written.items() if n} == {v: n for v, n in served.items() if n}


def test_freezing_again_from_the_beginning_changes_nothing(bench: Bench) -> None:
    bench.live(clock(23, 40), clock(24, 5, 10))
    bench.freeze()
    before = {run.key: bench.windows(run) for run in bench.runs()}

    bench.state.values.save(bench.scope, "history_frozen_until", repr(clock(23, 40)).encode())
    bench.live(clock(24, 6), clock(24, 10, 10))
    bench.freeze()

    for run in bench.runs():
        for number, window in before[run.key].items():
            assert bench.windows(run)[number] == window


def test_scopes_are_frozen_apart(bench: Bench) -> None:
    bench.live(clock(1), clock(1, 6))
    other = Bench(bench.state, f"instance:{next(scopes)}")
    bench.freeze()

    assert other.freeze() == 0
    assert other.runs() == []
