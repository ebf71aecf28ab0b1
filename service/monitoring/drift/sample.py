"""What drift detection said over time: a few numbers a tick, for charts and for history."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Self

from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import DriftReport, Effects


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSample:
    """What one tick said about one version of a model."""

    at: float
    """When the tick ended, in Unix seconds."""
    model_version: str
    log_evidence: float | None
    """Greatest over predictions and latency; a natural logarithm."""
    effects: Effects
    standing: tuple[DriftKind, ...]
    """The kinds of drift that stood."""

    @classmethod
    def of(cls, report: DriftReport, *, at: float, model_version: str) -> Self:
        """Take the numbers of a report that was made at a tick."""
        return cls(
            at=at,
            model_version=model_version,
            log_evidence=report.log_evidence,
            effects=report.effects,
            standing=tuple(drift.kind for drift in report.drifts),
        )

    def to_json(self) -> str:
        """Serialise without loss."""
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a sample.
        """
        try:
            content = json.loads(text)
            return cls(
                at=content["at"],
                model_version=content["model_version"],
                log_evidence=content["log_evidence"],
                effects=Effects(**content["effects"]),
                standing=tuple(DriftKind(kind) for kind in content["standing"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a sample of drift: {error!r}") from error


def thinned(samples: Sequence[DriftSample], most: int) -> Sequence[DriftSample]:
    """Keep at most ``most`` samples: of neighbours the one with the greatest evidence.

    A peak stays visible however long the span is.
    """
    if len(samples) <= most:
        return samples
    edges = [len(samples) * i // most for i in range(most + 1)]
    return [
        max(samples[low:high], key=lambda sample: sample.log_evidence or 0.0)
        for low, high in pairwise(edges)
    ]
