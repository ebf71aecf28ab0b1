"""Quality is that of the predictions whose clicks have all come, over every database alike."""

import secrets
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.utils import floatToGoString
from sklearn.metrics import log_loss

from service.monitoring import catalogue
from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.clicks import Click
from service.monitoring.counts import ModelVersion
from service.monitoring.quality.measures import Shortage
from service.monitoring.snapshot import Series, Snapshot
from service.sources.cohorts import Cohorts
from service.sources.quality_watch import QualityWatch
from service.sources.stored_windows import StoredWindows
from service.state.store import State

MODEL, OLDER = ModelVersion("m", "2"), ModelVersion("m", "1")
HERE, THERE = 7, 8
BEGAN = 30.0
DELAY = 600.0
"""Attribution window."""
A_MINUTE = 200

Floats = NDArray[np.float64]
Clicked = NDArray[np.bool_]


@dataclass
class Life:
    """A service that predicts, counts, and stores a snapshot at each minute."""

    state: State
    model: ModelVersion = MODEL
    seed: int = 1
    scores: list[Floats] = field(default_factory=list)
    clicked: list[Clicked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def predicts(self, minute: int, count: int = A_MINUTE, *, tick: int | None = None) -> None:
        """Predict within the minute that begins at ``minute``; what is clicked is decided."""
        tick = tick or minute + 60
        scores = self._rng.beta(2, 20, count)
        self.scores.append(scores)
        self.clicked.append(self._rng.random(count) < scores)
        self.state.history("here").append(tick, self._snapshot(tick))

    def click(self, index: int, minute: int, *, origin: int = HERE) -> None:
        """Send the clicks on the predictions of a minute."""
        self.state.clicks.count(
            [
                Click(
                    key=secrets.token_bytes(16),
                    origin=origin,
                    model=self.model.model,
                    version=self.model.version,
                    milliseconds=round((max(minute, BEGAN) + 1) * 1000),
                    prediction=float(score),
                    experiment=0,
                    cell=None,
                )
                for score in self.scores[index][self.clicked[index]]
            ]
        )

    def rows(self, first: int, after_last: int) -> tuple[Floats, Clicked]:
        """Every prediction of some minutes, by their number."""
        return (
            np.concatenate(self.scores[first:after_last]),
            np.concatenate(self.clicked[first:after_last]),
        )

    def _snapshot(self, tick: float) -> Snapshot:
        scores = np.concatenate(self.scores)
        labels = {"model": self.model.model, "version": self.model.version}
        buckets = [(floatToGoString(b), (scores <= b).sum()) for b in PREDICTION_BOUNDS]
        name = catalogue.PREDICTION.name
        counters = {
            series(f"{name}_bucket", **labels, le=bound): float(count)
            for bound, count in (*buckets, ("+Inf", len(scores)))
        } | {
            series(f"{name}_sum", **labels): float(scores.sum()),
            series(catalogue.PREDICTION_SQUARED.name, **labels): float(scores @ scores),
            series(catalogue.PREDICTION_NEGATIVE_LOG_COMPLEMENT.name, **labels): float(
                -np.log1p(-scores).sum()
            ),
        }
        return Snapshot(at=tick + 0.2, epoch=BEGAN, counters=counters, gauges={})


def series(name: str, **labels: str) -> Series:
    return Series(name, tuple(sorted(labels.items())))


def watch(state: State, *, origin: int | None = HERE, window: float = 86_400) -> QualityWatch:
    return QualityWatch(
        Cohorts(
            source=StoredWindows(state.history("here")),
            clicks=state.clicks,
            origin=origin,
            attribution_seconds=DELAY,
        ),
        window_seconds=window,
        attribution_seconds=DELAY,
        min_predictions=100,
    )


def test_what_is_younger_than_the_attribution_window_is_not_judged(state: State) -> None:
    life = Life(state)
    for number, minute in enumerate(range(0, 1200, 60)):
        life.predicts(minute)
        if number < 10:
            life.click(number, minute)

    report = watch(state).report(MODEL, 1200.0)

    # The other half has no click yet, and that is no decay.
    scores, clicked = life.rows(0, 10)
    quality = report.quality
    assert quality.losses is not None
    assert quality.losses.log_loss == pytest.approx(log_loss(clicked, scores), rel=1e-9)
    assert quality.calibration_ratio == pytest.approx(scores.sum() / clicked.sum(), rel=1e-12)
    assert (quality.predictions, quality.clicks) == (len(scores), clicked.sum())
    assert (quality.window_start, quality.window_end) == (BEGAN, 600.2)
    assert (report.maturing_predictions, report.maturing_clicks) == (10 * A_MINUTE, 0)
    assert report.sufficient_at is None


def test_a_late_click_belongs_to_the_minute_of_its_prediction(state: State) -> None:
    life = Life(state)
    for minute in range(0, 1200, 60):
        life.predicts(minute)
    life.click(0, 0)
    before = watch(state).report(MODEL, 1200.0)

    life.click(3, 180)
    life.click(15, 900)
    after = watch(state).report(MODEL, 1200.0)

    first, fourth, sixteenth = (int(life.clicked[number].sum()) for number in (0, 3, 15))
    assert (before.quality.clicks, before.maturing_clicks) == (first, 0)
    assert (after.quality.clicks, after.maturing_clicks) == (first + fourth, sixteenth)


def test_a_click_in_the_first_seconds_of_a_minute_matures_with_its_prediction(
    state: State,
) -> None:
    life = Life(state)
    life.predicts(0)
    life.predicts(60, tick=63)
    life.click(1, 60)

    report = watch(state).report(MODEL, 63.5)

    assert report.maturing_predictions == 2 * A_MINUTE
    assert report.maturing_clicks == life.clicked[1].sum() > 0


def test_a_window_ends_where_clicks_are_complete_and_is_as_long_as_asked(state: State) -> None:
    life = Life(state)
    for number, minute in enumerate(range(0, 1200, 60)):
        life.predicts(minute)
        life.click(number, minute)

    # 1259 - 600 lies in the minute that ends at 660: the last whole one is number 9.
    quality = watch(state).report(MODEL, 1259.0, window_seconds=170).quality

    assert (quality.window_start, quality.window_end) == (420.2, 600.2)
    scores, clicked = life.rows(7, 10)
    assert (quality.predictions, quality.clicks) == (len(scores), clicked.sum())


def test_the_usual_window_is_cut_at_whole_minutes_as_one_that_is_asked_for(state: State) -> None:
    life = Life(state)
    for number in range(20):
        life.predicts(60 * (number // 2), count=60, tick=30 * (number + 1))
        life.click(number, 60 * (number // 2))

    asked = watch(state, window=90)

    gauged, answered = asked.quality(MODEL, 1200.0), asked.report(MODEL, 1200.0).quality
    scores, clicked = life.rows(16, 20)
    assert (gauged.predictions, gauged.clicks) == (len(scores), clicked.sum())
    assert (gauged.ctr, gauged.window_start) == (answered.ctr, answered.window_start)


def test_it_says_when_there_will_be_enough(state: State) -> None:
    life = Life(state)
    for number, minute in enumerate(range(0, 600, 60)):
        life.predicts(minute, count=60)
        life.click(number, minute)

    report = watch(state).report(MODEL, 600.0)

    # Clicks of the first minutes; the minute with the 20th is mature an attribution window later.
    so_far = np.cumsum([clicked.sum() for clicked in life.clicked])
    enough = 60 * (int(np.argmax(so_far >= 20)) + 1)
    assert enough > 120
    assert report.quality.shortage is Shortage.PREDICTIONS
    assert report.quality.ctr is None
    assert report.sufficient_at == enough + DELAY
    later = watch(state)
    assert later.quality(MODEL, enough + DELAY - 1).shortage is not None
    assert later.quality(MODEL, enough + DELAY).shortage is None


def test_more_traffic_is_needed_where_there_will_not_be_enough(state: State) -> None:
    life = Life(state)
    life.predicts(0)

    report = watch(state).report(MODEL, 70.0)

    assert (report.maturing_predictions, report.sufficient_at) == (A_MINUTE, None)
    assert report.any_predictions


def test_clicks_of_other_instances_and_versions_are_theirs(state: State) -> None:
    life = Life(state)
    life.predicts(0)
    life.click(0, 0)
    elsewhere = Life(state, seed=2, scores=[np.array([0.5])], clicked=[np.array([True])])
    elsewhere.click(0, 0, origin=THERE)
    older = Life(state, model=OLDER, scores=[np.array([0.25])], clicked=[np.array([True])], seed=3)
    older.click(0, 0)

    now = 60 + DELAY
    assert watch(state).quality(MODEL, now).clicks == life.clicked[0].sum()
    assert watch(state, origin=None).quality(MODEL, now).clicks == life.clicked[0].sum() + 1
    assert not watch(state).report(OLDER, now).any_predictions


def test_without_any_history_there_is_nothing_to_judge(state: State) -> None:
    report = watch(state).report(MODEL, 5000.0)

    assert not report.any_predictions
    assert report.quality.shortage is Shortage.PREDICTIONS
    assert (report.quality.ctr, report.sufficient_at) == (None, None)
    assert report.quality.window_end == 4380.0
