"""A few individual predictions of a window, each as likely to be among them as any other."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self, TypeVar

from service.monitoring.counts import ModelVersion

Kept = TypeVar("Kept")


class SampledPrediction(NamedTuple):
    """One prediction that was answered."""

    at: float
    """When the answer was finished, in Unix seconds."""
    latency_seconds: float
    """Of its request."""
    prediction: float


class SampledError(NamedTuple):
    """One request that the model failed."""

    at: float
    latency_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledWindow:
    """What was kept of one model version in one window, by one worker or by all."""

    model: ModelVersion
    window_start: int
    """Unix seconds."""
    predictions_seen: int
    """Of which ``predictions`` are a sample without replacement."""
    predictions: tuple[SampledPrediction, ...]
    errors_seen: int
    errors: tuple[SampledError, ...]
    """All of them, up to a bound; then a sample."""
    shortest_seconds: float
    """Of all requests that ended in the window, exact."""
    longest_seconds: float

    def to_json(self) -> str:
        """Serialise without loss."""
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a sampled window.
        """
        try:
            content = json.loads(text)
            return cls(
                **content
                | {
                    "model": ModelVersion(*content["model"]),
                    "predictions": tuple(SampledPrediction(*p) for p in content["predictions"]),
                    "errors": tuple(SampledError(*e) for e in content["errors"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a sampled window: {error!r}") from error


def merged(parts: Sequence[SampledWindow], *, most: int) -> SampledWindow:
    """Make one sample of several workers' samples of the same model and window.

    A worker that saw twice as much is represented by twice as many.

    Args:
        parts: At least one.
        most: How many predictions, and how many errors, to keep.
    """
    first = parts[0]
    # The same parts give the same sample, whoever merges them, and when.
    rng = random.Random(f"{first.model}|{first.window_start}")  # noqa: S311 - a sample, no secret
    return SampledWindow(
        model=first.model,
        window_start=first.window_start,
        predictions_seen=sum(part.predictions_seen for part in parts),
        predictions=tuple(
            sorted(_merged(rng, [(p.predictions, p.predictions_seen) for p in parts], most))
        ),
        errors_seen=sum(part.errors_seen for part in parts),
        errors=tuple(sorted(_merged(rng, [(p.errors, p.errors_seen) for p in parts], most))),
        shortest_seconds=min(part.shortest_seconds for part in parts),
        longest_seconds=max(part.longest_seconds for part in parts),
    )


def _merged(
    rng: random.Random, parts: Sequence[tuple[Sequence[Kept], int]], most: int
) -> list[Kept]:
    """Draw one by one; a part is drawn from by the number of those behind it not yet drawn."""
    left = [rng.sample(kept, len(kept)) for kept, _ in parts]
    behind = [seen for _, seen in parts]
    found: list[Kept] = []
    while len(found) < most and any(left):
        [part] = rng.choices(range(len(parts)), weights=behind)
        if not left[part]:
            # Drawn more often than it kept: what is left of the others would be too much.
            break
        found.append(left[part].pop())
        behind[part] -= 1
    return found
