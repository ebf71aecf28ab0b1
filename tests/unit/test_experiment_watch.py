"""Every prediction and every click of an experiment is counted once, whatever happens between."""

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.monitoring import catalogue
from service.monitoring.baseline import Baseline
from service.monitoring.clicks import Click
from service.monitoring.experiment.report import ExperimentStatus
from service.monitoring.experiment.state import Plan
from service.monitoring.snapshot import Series, Snapshot
from service.sources.experiment_watch import ExperimentWatch
from service.sources.history_source import HistorySource
from service.state.experiments import StoredExperiment
from service.state.store import State, open_state

HERE, ELSEWHERE = 4, 5
PLAN = Plan(
    name="x",
    key="x.00000007",
    fingerprint=7,
    weights={"a": 1.0, "b": 1.0},
    versions={"a": "1", "b": "1"},
)
BEGAN = 6000


def baseline(model: str, version: str) -> Baseline:
    return Baseline(
        model_name=model,
        model_version=version,
        mean_prediction=0.1,
        std_prediction=0.1,
        source="training",
        created_at=datetime.fromtimestamp(0, tz=UTC),
        created_by="test",
    )


@dataclass
class World:
    """A service of which the test says what it counted."""

    state: State
    versions: Mapping[str, str] = field(default_factory=lambda: {"a": "1", "b": "1"})
    epoch: float = 5990.0
    counters: Counter[Series] = field(default_factory=Counter)
    now: float = float(BEGAN)

    def watch(self, plan: Plan = PLAN, *, attribution_seconds: float = 30.0) -> ExperimentWatch:
        """A new process: it knows what is stored, and nothing else."""
        return ExperimentWatch(
            plan=lambda: replace(plan, versions=self.versions),
            stored=StoredExperiment(self.state.values, "s"),
            source=HistorySource(self.snapshot, self.state.history("s")),
            clicks=self.state.clicks,
            origin=HERE,
            attribution_seconds=attribution_seconds,
            margin=0.02,
        )

    def snapshot(self) -> Snapshot:
        return Snapshot(at=self.now, epoch=self.epoch, counters=dict(self.counters), gauges={})

    def predict(self, model: str, cell: int, count: int = 1, *, key: str = PLAN.key) -> None:
        labels = {"model": model, "version": self.versions[model]}
        assigned = {**labels, "experiment": key, "cell": str(cell)}
        for name, found in (
            (catalogue.ASSIGNED_PREDICTIONS.name, assigned),
            (catalogue.REQUESTS.name, {**labels, "outcome": "success"}),
        ):
            self.counters[Series(name, tuple(sorted(found.items())))] += count

    def click(self, model: str, cell: int, at: float, *, origin: int = HERE) -> None:
        self.state.clicks.count(
            [
                Click(
                    key=secrets.token_bytes(16),
                    origin=origin,
                    model=model,
                    version=self.versions[model],
                    milliseconds=round(at * 1000),
                    prediction=0.5,
                    experiment=PLAN.fingerprint,
                    cell=cell,
                )
            ]
        )

    def tick(self, at: int) -> None:
        self.now = at + 0.01
        self.state.history("s").append(at, self.snapshot())

    def die(self) -> None:
        """Be killed, and come back: the launcher stores what was left, dated back."""
        self.state.history("s").append_final(self.snapshot())
        self.epoch, self.counters = self.now, Counter()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_state(tmp_path / "state.db") as state:
        yield World(state)


def counted(watch: ExperimentWatch) -> dict[str, tuple[float, float]]:
    return {
        variant.arm.model_name: (variant.impressions, variant.clicks)
        for variant in watch.sight().report.variants
    }


def test_an_experiment_begins_with_the_first_whole_minute_that_is_seen(world: World) -> None:
    watch = world.watch()
    world.predict("a", 3, 50)  # Before the beginning.
    assert watch.advance(BEGAN - 5) is None
    assert counted(watch) == {"a": (0, 0), "b": (0, 0)}
    assert watch.sight().began is None

    world.tick(BEGAN)
    watch.advance(BEGAN)
    world.predict("a", 3, 10)
    world.predict("b", 3, 12)
    world.predict("b", 3, 100, key="another.00000001")
    world.tick(BEGAN + 60)
    watch.advance(BEGAN + 60)

    sight = watch.sight()
    assert (sight.began, sight.until) == (BEGAN, BEGAN)
    assert sight.immature == {"a": 10, "b": 12}
    assert counted(watch) == {"a": (0, 0), "b": (0, 0)}

    world.tick(BEGAN + 120)
    report = watch.advance(BEGAN + 120)  # The first minute is 60 s old, older than 30.

    assert report is not None
    assert counted(watch) == {"a": (10, 0), "b": (12, 0)}
    assert report.variants[0].arm.counts.impressions[3] == 10
    assert report.variants[1].arm.counts.served.requests == 112
    assert watch.sight().immature == {"a": 0, "b": 0}


def test_clicks_belong_to_the_minute_of_their_prediction_and_to_this_instance(
    world: World,
) -> None:
    watch = world.watch()
    world.tick(BEGAN)
    watch.advance(BEGAN)
    for minute in (1, 2, 3):
        world.predict("a", minute, 100)
        world.tick(BEGAN + 60 * minute)
    for second in (-0.1, 0, 59.9, 60, 119.9, 120):
        world.click("a", 1, BEGAN + second)
    world.click("a", 1, BEGAN + 100, origin=ELSEWHERE)

    watch.advance(BEGAN + 89)  # A click may come for 30 s after the minute.
    assert counted(watch)["a"] == (0, 0)
    watch.advance(BEGAN + 90)
    assert counted(watch)["a"] == (100, 2)
    watch.advance(BEGAN + 180)

    assert counted(watch)["a"] == (200, 4)
    assert watch.sight().immature["a"] == 100


def test_nothing_is_lost_or_doubled_through_kills_gaps_and_repeated_ticks(world: World) -> None:
    given: Counter[str] = Counter()
    clicked: Counter[str] = Counter()
    minute = 0
    world.tick(BEGAN)
    world.watch().advance(BEGAN)
    for life in range(5):
        for _ in range(7):
            for tick in range(0, 60, 5):
                world.predict("a", minute % 64, 3 + life)
                world.predict("b", minute % 64, 2 + life)
                given["a"] += 3 + life
                given["b"] += 2 + life
                at = BEGAN + 60 * minute + tick
                if tick == 35:
                    world.click("b", minute % 64, at + 1)
                    clicked["b"] += 1
                world.tick(at + 5)
            minute += 1
            before = world.state.values.load("s", "experiment")
            assert before is not None
            world.watch().advance(BEGAN + 60 * minute)
            if minute % 3 == 0:
                # Killed before the new counts were stored: the same minutes come once more.
                world.state.values.save("s", "experiment", before)
                world.watch().advance(BEGAN + 60 * minute)
            world.watch().advance(BEGAN + 60 * minute)
        world.predict("a", 5, 17)  # Served after the last tick, before the kill.
        given["a"] += 17
        world.click("a", 5, world.now + 1)
        clicked["a"] += 1
        world.die()
        minute += 11  # Down for ten minutes and more.
        world.tick(BEGAN + 60 * minute)
        world.watch().advance(BEGAN + 60 * minute)
    world.tick(BEGAN + 60 * (minute + 1))
    world.watch().advance(BEGAN + 60 * (minute + 1))

    assert counted(world.watch()) == {model: (given[model], clicked[model]) for model in "ab"}
    world.state.history("s").thin(world.now + 30 * 86400)
    assert counted(world.watch()) == {model: (given[model], clicked[model]) for model in "ab"}


def test_clicks_of_a_gap_in_the_history_wait_for_their_predictions(world: World) -> None:
    world.tick(BEGAN)
    world.watch().advance(BEGAN)
    for minute in range(30):  # The state store does not answer; clicks are sent again later.
        world.predict("a", 0, 100)
        world.click("a", 0, BEGAN + 60 * minute + 30)
        if minute == 0:
            world.tick(BEGAN + 35)
    world.tick(BEGAN + 1800)

    for minute in range(30, 59):
        world.watch(attribution_seconds=1740).advance(BEGAN + 60 * minute)
        assert counted(world.watch())["a"] == (0, 0)
    world.watch(attribution_seconds=1740).advance(BEGAN + 3540)

    assert counted(world.watch())["a"] == (3000, 30)


def test_a_longer_attribution_window_counts_no_minute_again(world: World) -> None:
    for minute in range(10):
        world.tick(BEGAN + 60 * minute)
        world.watch().advance(BEGAN + 60 * minute)
        world.predict("a", 0, 10)
        world.click("a", 0, BEGAN + 60 * minute + 30)
    before = counted(world.watch())["a"]

    for minute in range(10, 20):
        world.tick(BEGAN + 60 * minute)
        world.watch(attribution_seconds=300).advance(BEGAN + 60 * minute)

    assert before == (80, 8)
    assert counted(world.watch())["a"] == (100, 10)


def test_calibration_is_of_the_same_minutes_and_of_this_instance(world: World) -> None:
    world.click("a", 1, BEGAN - 30)
    for minute in range(4):
        world.tick(BEGAN + 60 * minute)
        report = world.watch().advance(BEGAN + 60 * minute)
        world.click("a", 1, BEGAN + 60 * minute + 30)
        world.click("a", 1, BEGAN + 60 * minute + 30, origin=ELSEWHERE)

    assert report is not None
    assert report.variants[0].arm.counts.served.clicks == 2


def test_other_shares_or_another_version_begin_afresh(world: World) -> None:
    for minute in range(3):
        world.tick(BEGAN + 60 * minute)
        world.predict("a", 0, 10)
        world.watch().advance(BEGAN + 60 * minute)
    assert counted(world.watch())["a"] == (10, 0)

    other = replace(PLAN, key="x.2", fingerprint=2)
    assert counted(world.watch(other)) == {"a": (0, 0), "b": (0, 0)}

    world.versions = {"a": "1", "b": "2"}
    assert world.watch().sight().began is None
    world.tick(BEGAN + 180)
    world.watch().advance(BEGAN + 180)
    assert world.watch().sight().began == BEGAN + 180


def test_what_an_unknown_release_wrote_is_begun_afresh(world: World) -> None:
    world.state.values.save("s", "experiment", b'{"format": 99}')

    assert world.watch().sight().report.status is ExperimentStatus.INSUFFICIENT_DATA
    assert world.watch().report().variants[0].impressions == 0


def test_where_nothing_is_compared_nothing_is_kept(world: World) -> None:
    alone = replace(PLAN, weights={"a": 1.0})

    report = world.watch(alone).advance(BEGAN)
    assert report is not None
    assert report.status is ExperimentStatus.NO_EXPERIMENT
    assert world.watch(alone).sight().report.status is ExperimentStatus.NO_EXPERIMENT
    assert world.state.values.load("s", "experiment") is None
