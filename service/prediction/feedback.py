"""Takes in what became of predictions: verifies each id and counts each click once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.monitoring.catalogue import FeedbackResult
from service.monitoring.clicks import Click
from service.prediction.prediction_id import (
    InvalidPredictionIdError,
    PredictionId,
    UnknownPredictionIdError,
    VerifiedId,
)
from service.state.clicks import Clicks
from service.telemetry.recorder import Recorder

CLOCK_TOLERANCE_SECONDS = 60.0
"""By so much the clock that stamped a click may be behind the one that stamped its prediction."""


class FeedbackEvent(NamedTuple):
    """What a client says of one prediction."""

    prediction_id: str
    clicked: bool
    at: float | None
    """When it was clicked, in Unix seconds; by default now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackOutcome:
    """What became of a batch."""

    results: Sequence[FeedbackResult]
    """Of each event, in order."""
    clicks: Sequence[Click]
    """Those that were counted now."""

    @property
    def counts(self) -> Mapping[FeedbackResult, int]:
        """Number of events by result."""
        return Counter(self.results)


class Feedback:
    """Counts clicks, in the state store first and in the metrics then."""

    def __init__(
        self,
        *,
        clicks: Clicks,
        recorder: Recorder,
        signing_keys: Sequence[bytes],
        attribution_seconds: float,
    ) -> None:
        self._clicks = clicks
        self._recorder = recorder
        self._keys = signing_keys
        self._attribution_seconds = attribution_seconds

    def take(self, events: Sequence[FeedbackEvent], now: float) -> FeedbackOutcome:
        """Store the clicks of a batch that are new; blocks, and is durable when it returns.

        Sent again, as after a lost answer, a batch changes nothing.

        Args:
            events: What the client says.
            now: Unix seconds.

        Raises:
            StateUnavailableError: Nothing of the batch was stored.
        """
        results: list[FeedbackResult] = []
        clicks: dict[bytes, Click] = {}
        place: dict[bytes, int] = {}
        for event in events:
            result, verified = self._judge(event, now)
            if result is FeedbackResult.ACCEPTED and event.clicked and verified is not None:
                if verified.signature in clicks:
                    result = FeedbackResult.DUPLICATE
                else:
                    place[verified.signature] = len(results)
                    clicks[verified.signature] = _click(verified)
            results.append(result)
        new = self._clicks.count(list(clicks.values()))
        for key, index in place.items():
            if key not in new:
                results[index] = FeedbackResult.DUPLICATE
        return FeedbackOutcome(results=results, clicks=[clicks[key] for key in new])

    def record(self, outcome: FeedbackOutcome) -> None:
        """Show an outcome in the metrics; on the event loop, which alone writes them."""
        self._recorder.feedback(outcome.counts, outcome.clicks)

    def _judge(self, event: FeedbackEvent, now: float) -> tuple[FeedbackResult, VerifiedId | None]:
        try:
            verified = PredictionId.verified(event.prediction_id, *self._keys)
        except UnknownPredictionIdError:
            return FeedbackResult.UNKNOWN, None
        except InvalidPredictionIdError:
            return FeedbackResult.INVALID, None
        predicted = verified.identity.milliseconds / 1000
        # Who says no time was not before the prediction: then the clock was set back.
        clicked = max(now, predicted) if event.at is None else event.at
        if clicked < predicted - CLOCK_TOLERANCE_SECONDS:
            return FeedbackResult.INVALID, None
        # Also by arrival: a cohort is closed when its window is over, and never opened again.
        if max(clicked, now) > predicted + self._attribution_seconds:
            return FeedbackResult.EXPIRED, None
        return FeedbackResult.ACCEPTED, verified


def _click(verified: VerifiedId) -> Click:
    identity = verified.identity
    return Click(
        key=verified.signature,
        origin=identity.origin,
        model=identity.model,
        version=identity.version,
        milliseconds=identity.milliseconds,
        prediction=identity.score,
        experiment=identity.experiment,
        cell=identity.cell,
    )
