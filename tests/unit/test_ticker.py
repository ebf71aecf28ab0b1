"""The clock's work: one holder stores and judges, another takes over, nothing stops it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from service.monitoring.baseline import Baseline
from service.monitoring.catalogue import ErrorType
from service.monitoring.health import HealthPolicy, HealthStatus
from service.monitoring.history import History, Tick
from service.monitoring.monitor import Monitor
from service.monitoring.snapshot import Snapshot
from service.sampling import Sampling
from service.sources.active_baselines import ActiveBaselines
from service.sources.errors import SourceUnavailableError
from service.sources.history_source import HistorySource
from service.sources.local import local_source, store_now
from service.sources.verdicts import StoredVerdicts
from service.sources.watches import Sights
from service.state.errors import StateUnavailableError
from service.state.history import StoredHistory
from service.state.store import State, open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.judgements import JudgementGauges
from service.telemetry.recorder import ModelRecorder, Recorder
from service.telemetry.registry import registry_of
from service.telemetry.series import WorkerFiles
from service.ticker import Ticker, TickJob

BEGAN = 1_700_000_040.0  # a full minute
INTERVAL = 5.0
SCOPE = "instance:test"


@dataclass
class World:
    """A worker's parts, and a clock that the test sets."""

    state: State
    files: WorkerFiles
    model: ModelRecorder
    source: HistorySource
    history: StoredHistory
    now: list[float]
    housekept: list[float] = field(default_factory=list)

    def monitor(self) -> Monitor:
        return Monitor(
            source=self.source,
            verdicts=StoredVerdicts(self.state.values, SCOPE),
            policy=HealthPolicy(error_rate_percent=5, latency_ms=1000, min_requests=20),
            health_window_seconds=300,
        )

    def job(self, holder: str, history: History | None = None) -> TickJob:
        return TickJob(
            collect=partial(store_now, self.source, history or self.history),
            clock=lambda: self.now[0],
            monitor=self.monitor(),
            verdicts=StoredVerdicts(self.state.values, SCOPE),
            leases=self.state.leases,
            lease="ticker:test",
            holder=holder,
            interval_seconds=INTERVAL,
            housekeeping=self.housekept.append,
        )

    def tick(self, job: TickJob, number: int) -> bool:
        """Run the tick ``number`` of the epoch; tell whether the job held the lease."""
        boundary = BEGAN + number * INTERVAL
        self.now[0] = boundary + 0.01
        return job(boundary) is not None

    def serve(self, requests: int, *, failing: bool = False) -> None:
        for _ in range(requests):
            self.model.started()
            if failing:
                self.model.failed(0.01, ErrorType.EXCEPTION)
            else:
                self.model.answered([0.01], np.array([0.02]), np.zeros((1, 1), dtype=np.int64))
        self.files.flush()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    metrics = MetricsFolder.begin(tmp_path / "metrics", BEGAN)
    files = metrics.join()
    model = Recorder(files).model(
        "m", version="1", kind="xgboost", evaluator="forest", vocabularies={"device": ("mobile",)}
    )
    now = [BEGAN]
    with open_state(f"sqlite:///{tmp_path / 'state.db'}") as state:
        history = state.history(SCOPE)
        # As the launcher does: the history begins at zero.
        history.append(BEGAN, Snapshot(at=BEGAN, epoch=BEGAN, counters={}, gauges={}))
        source = local_source(registry_of(metrics), history, clock=lambda: now[0])
        yield World(state, files, model, source, history, now)
    files.close()


def test_every_tick_stores_what_was_counted_until_then(world: World) -> None:
    job = world.job("a")
    for number in range(1, 4):
        world.serve(10)
        world.tick(job, number)

    stored = list(world.history.ticks(BEGAN + 1, BEGAN + 100))

    assert [row.tick - BEGAN for row in stored] == [5, 10, 15]
    totals = [
        sum(v for series, v in row.snapshot.counters.items() if series.name == "ctr_requests_total")
        for row in stored
    ]
    assert totals == [10, 20, 30]


def test_a_worker_without_the_lease_does_nothing(world: World) -> None:
    assert world.tick(world.job("a"), 1)
    assert not world.tick(world.job("b"), 1)
    assert len(list(world.history.ticks(BEGAN + 1, BEGAN + 100))) == 1


def test_a_dead_holder_is_replaced_within_two_ticks(world: World) -> None:
    living = world.job("b")
    world.tick(world.job("a"), 1)  # and a dies

    assert [world.tick(living, number) for number in (2, 3)] == [False, True]


def test_a_holder_that_stops_in_good_order_is_replaced_at_once(world: World) -> None:
    leaving = world.job("a")
    world.tick(leaving, 1)
    leaving.stop()

    assert world.tick(world.job("b"), 2)


def test_housekeeping_is_done_once_a_minute(world: World) -> None:
    job = world.job("a")
    for number in range(1, 26):
        world.tick(job, number)

    assert [round(at - BEGAN) for at in world.housekept] == [60, 120]


def test_what_a_check_decided_is_remembered_through_silence(world: World) -> None:
    job = world.job("a")
    world.serve(30, failing=True)
    world.tick(job, 1)
    for number in range(2, 70):  # longer than the health window
        world.tick(job, number)

    silent = world.monitor().health()

    assert silent.models[0].checks[0].observations == 0
    assert silent.status is HealthStatus.DEGRADED


def test_after_the_clock_was_set_back_no_span_is_told_until_it_has_caught_up(
    world: World,
) -> None:
    job = world.job("a")
    for number in range(1, 13):
        world.serve(10)
        world.tick(job, number)
    before = [row.tick for row in world.history.ticks(0, 1e11)]

    for number in (-700, 1, 6, 11):  # The first is before the counters began.
        world.serve(10)
        with pytest.raises(SourceUnavailableError, match="the clock was set back by"):
            world.tick(job, number)
        with pytest.raises(SourceUnavailableError, match="predictions, clicks and /metrics go on"):
            world.monitor().statistics(60)
    assert [row.tick for row in world.history.ticks(0, 1e11)] == before

    for number in (13, 14):
        world.serve(10)
        world.tick(job, number)
    (since,) = world.monitor().statistics(10)
    assert (since.window_start, since.window_end) == (BEGAN + 60.01, BEGAN + 70.01)
    assert since.total_requests == 60


def test_a_clock_that_is_a_moment_behind_changes_no_answer(world: World) -> None:
    job = world.job("a")
    for number in range(1, 13):
        world.serve(10)
        world.tick(job, number)

    world.now[0] -= 0.5

    (since,) = world.monitor().statistics(30)
    assert (since.window_start, since.total_requests) == (BEGAN + 25.01, 70)


def test_an_answer_from_history_is_the_difference_to_the_tick_it_begins_with(
    world: World,
) -> None:
    job = world.job("a")
    for number in range(1, 13):
        world.serve(number)
        world.tick(job, number)
    world.serve(100)
    world.now[0] = BEGAN + 62

    (minute,) = world.monitor().statistics(30)

    # 62 - 30 = 32: the tick of 30 s, read at 30.01, is the latest before.
    assert minute.window_start == BEGAN + 30.01
    assert minute.window_end == BEGAN + 62
    assert minute.total_requests == sum(range(7, 13)) + 100
    # The last minute begins at 2 s: with the beginning, 62 s ago.
    assert minute.requests_per_minute == pytest.approx((sum(range(1, 13)) + 100) * 60 / 62)


@dataclass
class Watching:
    """Notes what it is asked."""

    asked: list[str]
    name: str

    def advance(self, row: Tick) -> Sights:
        self.asked.append(f"{self.name} advances {row.tick - BEGAN:g}")
        return Sights()

    def sights(self, boundary: float) -> Sights:
        self.asked.append(f"{self.name} looks {boundary - BEGAN:g}")
        return Sights()


def test_only_the_holder_of_the_lease_judges(world: World) -> None:
    asked: list[str] = []
    jobs = [replace(world.job(name), watches=Watching(asked, name)) for name in "ab"]
    for number, job in product((1, 2), jobs):
        world.tick(job, number)

    assert asked == ["a advances 5", "a advances 10"]


def test_where_judgements_are_shared_the_others_look(world: World) -> None:
    asked: list[str] = []
    jobs = [replace(world.job(name), watches=Watching(asked, name), shared=True) for name in "ab"]
    for number, job in product((1, 2), jobs):
        world.tick(job, number)

    assert asked == ["a advances 5", "b looks 5", "a advances 10", "b looks 10"]


class FailingHistory:
    """A store that is down for the first ticks."""

    def __init__(self, history: StoredHistory, failures: int) -> None:
        self._history = history
        self._failures = failures
        self.written = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def append(self, tick: float, snapshot: Snapshot) -> None:
        if self._failures:
            self._failures -= 1
            raise StateUnavailableError("the disk is full")
        self._history.append(tick, snapshot)
        self.loop.call_soon_threadsafe(self.written.set)


def test_the_clock_goes_on_after_the_store_was_down(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        history = FailingHistory(world.history, failures=3)
        job = replace(world.job("a", history), interval_seconds=0.05)  # type: ignore[arg-type]
        trained = Baseline(
            model_name="m",
            model_version="1",
            mean_prediction=0.02,
            std_prediction=0.01,
            source="training",
            created_at=datetime.now(UTC),
            created_by="test",
        )
        ticker = Ticker(
            job=job,
            gauges=JudgementGauges(world.files),
            baselines=ActiveBaselines(lambda: {"m": trained}, world.state.baselines),
            sampling=Sampling(
                reservoirs=list,
                store=world.state.sampled_windows(SCOPE),
                worker="w",
            ),
        )
        world.now[0] = BEGAN + 1e9
        running = asyncio.create_task(ticker.run())
        await asyncio.wait_for(history.written.wait(), timeout=20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(run())

    stalled = [record for record in caplog.records if "stands still" in record.message]
    assert len(stalled) == 1  # once for the streak, not for every tick
