"""What is said of a model's quality: its mature cohort, and what is still to come."""

from dataclasses import dataclass

from service.monitoring.counts import ModelVersion
from service.monitoring.quality.measures import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """The quality of one model version, judged on the predictions whose clicks have all come."""

    model: ModelVersion
    quality: Quality
    maturing_predictions: int
    """Answered since; their clicks may still come."""
    maturing_clicks: int
    """That have come for those so far."""
    sufficient_at: float | None
    """When the predictions and clicks that there are by now will suffice, in Unix seconds; more
    clicks may make it sooner. None where they suffice already, or will not."""
    attribution_seconds: float
    """After so long no click comes in for a prediction any more."""
    min_predictions: int
    """Fewer are too little to judge by."""

    @property
    def any_predictions(self) -> bool:
        """Whether there are predictions, mature or not."""
        return bool(self.quality.predictions or self.maturing_predictions)
