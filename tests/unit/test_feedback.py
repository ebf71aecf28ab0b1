"""Each event of feedback is judged on its own, and each click counts once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.monitoring.catalogue import FeedbackResult
from service.monitoring.counts import ModelVersion
from service.prediction.feedback import Feedback, FeedbackEvent
from service.prediction.prediction_id import PredictionId
from service.state.store import State, open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder

KEY = b"k" * 32
KEY_BEFORE = b"b" * 32
PREDICTED = 1_000_000.0
WINDOW = 3600.0
NOW = PREDICTED + 10


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def feedback(state: State, tmp_path: Path) -> Iterator[Feedback]:
    files = MetricsFolder.begin(tmp_path / "metrics", 1.0).join()
    yield Feedback(
        clicks=state.clicks,
        recorder=Recorder(files),
        signing_keys=[KEY, KEY_BEFORE],
        attribution_seconds=WINDOW,
    )
    files.close()


def identity(number: int = 0, *, model: str = "m", key: bytes = KEY) -> str:
    return PredictionId(
        model=model,
        version="1",
        score=0.25,
        milliseconds=round(PREDICTED * 1000),
        nonce=number.to_bytes(6),
        origin=1,
        experiment=2,
        cell=3,
    ).signed(key)


def event(prediction_id: str, *, clicked: bool = True, at: float | None = None) -> FeedbackEvent:
    return FeedbackEvent(prediction_id, clicked, at)


def stored(state: State) -> float:
    return state.clicks.sums(ModelVersion("m", "1"), 0, 1e12, origin=1).count


@pytest.mark.parametrize(
    ("one", "now", "expected"),
    [
        (event(identity()), NOW, FeedbackResult.ACCEPTED),
        (event(identity(key=KEY_BEFORE)), NOW, FeedbackResult.ACCEPTED),
        (event(identity(), clicked=False), NOW, FeedbackResult.ACCEPTED),
        (event(identity()), PREDICTED + WINDOW, FeedbackResult.ACCEPTED),
        (event(identity()), PREDICTED + WINDOW + 1, FeedbackResult.EXPIRED),
        # Clicked in time, but heard of too late: its cohort is closed.
        (event(identity(), at=NOW), PREDICTED + WINDOW + 1, FeedbackResult.EXPIRED),
        (event(identity(), at=PREDICTED + WINDOW + 1), NOW, FeedbackResult.EXPIRED),
        (event(identity(), at=PREDICTED - 61), NOW, FeedbackResult.INVALID),
        (event(identity(), at=PREDICTED - 59), NOW, FeedbackResult.ACCEPTED),
        # The clock was set back between the prediction and its click.
        (event(identity()), PREDICTED - 3600, FeedbackResult.ACCEPTED),
        (event(identity(key=b"other" * 7)), NOW, FeedbackResult.INVALID),
        (event("nonsense"), NOW, FeedbackResult.UNKNOWN),
        (event(""), NOW, FeedbackResult.UNKNOWN),
    ],
)
def test_an_event_is_judged_by_its_id_and_its_time(
    feedback: Feedback,
    state: State,
    one: FeedbackEvent,
    now: float,
    expected: FeedbackResult,
) -> None:
    outcome = feedback.take([one], now)

    assert list(outcome.results) == [expected]
    counted = int(expected is FeedbackResult.ACCEPTED and one.clicked)
    assert stored(state) == len(outcome.clicks) == counted


def test_a_click_counts_where_its_model_is_not_served_yet_or_any_more(
    feedback: Feedback, state: State
) -> None:
    outcome = feedback.take([event(identity(model="elsewhere"))], NOW)

    assert list(outcome.results) == [FeedbackResult.ACCEPTED]
    assert state.clicks.sums(ModelVersion("elsewhere", "1"), 0, 1e12, origin=1).count == 1


def test_one_bad_event_spoils_no_other(feedback: Feedback, state: State) -> None:
    outcome = feedback.take(
        [event(identity(1)), event(identity(key=b"other" * 7)), event(identity(2))], NOW
    )

    assert [str(result) for result in outcome.results] == ["accepted", "invalid", "accepted"]
    assert stored(state) == 2


def test_a_click_counts_once_in_a_batch_and_across_batches(
    feedback: Feedback, state: State
) -> None:
    first = feedback.take([event(identity(1)), event(identity(1))], NOW)
    second = feedback.take([event(identity(2)), event(identity(1))], NOW)

    assert [str(result) for result in first.results] == ["accepted", "duplicate"]
    assert [str(result) for result in second.results] == ["accepted", "duplicate"]
    assert stored(state) == 2


def test_another_spelling_of_an_id_is_no_other_id(feedback: Feedback, state: State) -> None:
    text = identity()
    padded = text + "=" * (-len(text) % 4)

    outcomes = [feedback.take([event(spelling)], NOW) for spelling in (text, padded)]

    assert len({str(outcome.results[0]) for outcome in outcomes} - {"accepted"}) == 1
    assert stored(state) == 1


def test_no_click_is_not_remembered(feedback: Feedback, state: State) -> None:
    feedback.take([event(identity(), clicked=False)] * 3, NOW)

    assert list(feedback.take([event(identity())], NOW).results) == [FeedbackResult.ACCEPTED]
    assert stored(state) == 1


def test_a_click_says_all_of_its_prediction(feedback: Feedback) -> None:
    [click] = feedback.take([event(identity())], NOW).clicks

    assert (click.origin, click.model, click.version, click.experiment, click.cell) == (
        1,
        "m",
        "1",
        2,
        3,
    )
    assert (click.prediction, click.minute) == (0.25, 999_960)
