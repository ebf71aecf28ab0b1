"""Bodies of the features in the answer of the drift endpoint."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field

from service.api.monitoring_schemas import utc
from service.monitoring.feature_drift.budget import LOG_THRESHOLD
from service.monitoring.feature_drift.report import FeatureDrift

NO_FEATURES = "the baseline in force has no counts of features; capture one from traffic"


class MovedValueBody(BaseModel):
    """A value whose share changed."""

    value: Annotated[
        str,
        Field(description="Of hour and day_of_week against the clock, as `clock-1`: one behind."),
    ]
    baseline_share: Annotated[float, Field(description="At the same hours of the day.")]
    current_share: float


class FeatureDriftBody(BaseModel):
    """One feature of what the model is asked; null stands for "there is no such number"."""

    feature: str
    psi: Annotated[
        float | None,
        Field(description="Population stability index over the window, against the same hours."),
    ]
    unseen_rate: Annotated[
        float | None, Field(description="Share of the window that training had not seen.")
    ]
    baseline_unseen_rate: float | None
    log_evidence: Annotated[
        float | None, Field(description="Natural logarithm, after the last tick.")
    ]
    log_evidence_threshold: float
    drift_detected: bool
    since: Annotated[datetime | None, Field(description="Estimated beginning.")]
    moved: Annotated[list[MovedValueBody], Field(description="The values that moved most.")]
    reason: Annotated[str | None, Field(description="Why a number is missing; else null.")]

    @classmethod
    def of(cls, found: FeatureDrift) -> Self:
        """Map the core's value."""
        return cls(
            feature=found.feature,
            psi=found.psi,
            unseen_rate=found.unseen_rate,
            baseline_unseen_rate=found.baseline_unseen_rate,
            log_evidence=found.log_evidence,
            log_evidence_threshold=LOG_THRESHOLD,
            drift_detected=found.drift_detected,
            since=None if found.since is None else utc(found.since),
            moved=[
                MovedValueBody(
                    value=value.value,
                    baseline_share=value.baseline_share,
                    current_share=value.current_share,
                )
                for value in found.moved
            ],
            reason=found.reason,
        )
