"""Bodies of the drift endpoint."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, Field

from service.api.feature_schemas import NO_FEATURES, FeatureDriftBody
from service.api.monitoring_schemas import BucketBody, buckets_of, utc
from service.api.scopes import ScopeBody, ScopeName, staleness
from service.monitoring.calibration.detector import MIN_CLICKS
from service.monitoring.calibration.report import CalibrationReport
from service.monitoring.calibration.ticks import Miscalibration
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import Drift, DriftReport, DriftStatus, Effects, Severity
from service.monitoring.drift.sample import DriftSample
from service.monitoring.feature_drift.report import FeatureDrift
from service.monitoring.statistics import MILLISECONDS


class CurrentStatsBody(BaseModel):
    """The drift window's own moments; null stands for "there is no such number"."""

    mean_prediction: float | None
    std_prediction: float | None
    mean_latency_ms: float | None
    std_latency_ms: float | None


class _DriftBody(BaseModel):
    severity: Severity
    log_evidence: Annotated[float, Field(description="Natural logarithm, after the last tick.")]
    log_evidence_threshold: float
    since: Annotated[datetime, Field(description="Estimated beginning.")]
    effect: Annotated[
        float, Field(description="Relative change of mean or variance; distance of shapes.")
    ]


class MeanShiftBody(_DriftBody):
    """The mean prediction is another one."""

    type: Literal["mean_shift"] = "mean_shift"
    z_score: float
    baseline_mean: float
    current_mean: float | None


class VarianceChangeBody(_DriftBody):
    """The predictions spread more, or less."""

    type: Literal["variance_change"] = "variance_change"
    variance_ratio: float
    baseline_std: float
    current_std: float | None


class ShapeChangeBody(_DriftBody):
    """Mean and variance are the same, their distribution is not."""

    type: Literal["shape_change"] = "shape_change"
    distance: Annotated[float | None, Field(description="Total variation, 0 to 1.")]


class LatencyAnomalyBody(_DriftBody):
    """The mean latency is another one."""

    type: Literal["latency_anomaly"] = "latency_anomaly"
    z_score: float
    baseline_mean_ms: float
    current_mean_ms: float | None


class CalibrationShiftBody(_DriftBody):
    """Clicks do not come as predicted; `effect` is by how much they are more, as a share."""

    type: Literal["calibration_shift"] = "calibration_shift"
    form: Annotated[
        Miscalibration,
        Field(
            description="The level of all predictions, or the slope: high ones get more (effect "
            "above 0) or fewer clicks than they promise, and low ones the other way round."
        ),
    ]
    calibration_ratio: Annotated[
        float | None, Field(description="Predicted clicks for one that came; null without any.")
    ]
    predicted_clicks: Annotated[
        float, Field(description="Sum of the predictions since the change, for all that is known.")
    ]
    clicks: Annotated[int, Field(description="Clicks on them.")]


DriftBody = (
    MeanShiftBody | VarianceChangeBody | ShapeChangeBody | LatencyAnomalyBody | CalibrationShiftBody
)


class CalibrationBody(BaseModel):
    """The test of calibration: what clicks say of the predictions whose clicks are complete."""

    status: Annotated[
        DriftStatus, Field(description="Too few clicks neither raise nor clear an alarm.")
    ]
    clicks: Annotated[int, Field(description="Seen since this version began to be served.")]
    clicks_needed: Annotated[int, Field(description="The test begins once so many have come.")]
    log_evidence: Annotated[
        float | None, Field(description="Natural logarithm; null before the test began.")
    ]
    log_evidence_threshold: float
    until: Annotated[
        datetime | None, Field(description="Predictions before this have all their clicks.")
    ]

    @classmethod
    def of(cls, report: CalibrationReport) -> Self:
        """Map the core's value."""
        if report.shift is not None:
            status = DriftStatus.DRIFT
        else:
            status = DriftStatus.OK if report.decided else DriftStatus.INSUFFICIENT_DATA
        return cls(
            status=status,
            clicks=round(report.clicks),
            clicks_needed=MIN_CLICKS,
            log_evidence=report.log_evidence,
            log_evidence_threshold=LOG_THRESHOLD,
            until=None if report.until is None else utc(report.until),
        )


class EffectsBody(BaseModel):
    """How far the drift window is from the baseline, drift or not; null where nobody can say."""

    mean_shift: Annotated[float | None, Field(description="Relative change of the mean.")]
    variance_ratio: float | None
    shape_distance: Annotated[float | None, Field(description="Total variation, 0 to 1.")]
    latency_shift: Annotated[float | None, Field(description="Relative change of the mean.")]

    @classmethod
    def of(cls, effects: Effects) -> Self:
        """Map the core's value."""
        return cls(
            mean_shift=effects.mean_shift,
            variance_ratio=effects.variance_ratio,
            shape_distance=effects.shape_distance,
            latency_shift=effects.latency_shift,
        )


class DriftReportBody(ScopeBody):
    """The drift of one model."""

    drift_detected: bool
    model_name: str
    status: DriftStatus
    current_stats: CurrentStatsBody
    drifts: list[DriftBody]
    effects: EffectsBody
    calibration: Annotated[
        CalibrationBody | None, Field(description="Null where clicks are not looked at.")
    ]
    log_evidence: Annotated[
        float | None,
        Field(description="Natural logarithm; of scores and latency; null before the first tick."),
    ]
    log_evidence_threshold: float
    commissioning: Annotated[
        bool,
        Field(description="The baseline knows no wander: only gross changes are found."),
    ]
    observations: Annotated[int, Field(description="Predictions in the window.")]
    distribution: Annotated[
        list[BucketBody], Field(description="Of them; the baseline's is in its own answer.")
    ]
    window_start: datetime
    window_end: datetime
    features: Annotated[
        list[FeatureDriftBody],
        Field(description="What the model is asked; never changes drift_detected nor status."),
    ]
    features_reason: Annotated[
        str | None, Field(description="Why there are no features; else null.")
    ]

    @classmethod
    def of(cls, report: DriftReport, scope: ScopeName, features: Sequence[FeatureDrift]) -> Self:
        """Map the core's value."""
        predictions, durations = report.counts.predictions, report.counts.durations
        return cls(
            drift_detected=bool(report.drifts),
            model_name=report.model_name,
            status=report.status,
            current_stats=CurrentStatsBody(
                mean_prediction=predictions.mean,
                std_prediction=predictions.std,
                mean_latency_ms=_milliseconds(durations.mean),
                std_latency_ms=_milliseconds(durations.std),
            ),
            drifts=[_drift_body(drift) for drift in report.drifts],
            effects=EffectsBody.of(report.effects),
            calibration=None
            if report.calibration is None
            else CalibrationBody.of(report.calibration),
            log_evidence=report.log_evidence,
            log_evidence_threshold=LOG_THRESHOLD,
            commissioning=report.commissioning,
            observations=report.observations,
            distribution=buckets_of(
                predictions.bounds[:-1].tolist(),
                np.diff(predictions.cumulative, prepend=0.0).tolist(),
            ),
            window_start=utc(report.window.start),
            window_end=utc(report.window.end),
            features=[FeatureDriftBody.of(feature) for feature in features],
            features_reason=None if features else NO_FEATURES,
            scope=scope,
            replicas_seen=report.window.instances,
            staleness_seconds=staleness(report.window.end),
        )


class DriftSampleBody(BaseModel):
    """What one tick said."""

    at: datetime
    model_version: str
    log_evidence: float | None
    effects: EffectsBody
    drifts: Annotated[list[DriftKind], Field(description="The types that stood.")]


class DriftHistoryBody(BaseModel):
    """What drift detection said over time, oldest first."""

    model_name: str
    log_evidence_threshold: float
    samples: list[DriftSampleBody]

    @classmethod
    def of(cls, model_name: str, samples: Sequence[DriftSample]) -> Self:
        """Map the core's values."""
        return cls(
            model_name=model_name,
            log_evidence_threshold=LOG_THRESHOLD,
            samples=[
                DriftSampleBody(
                    at=utc(sample.at),
                    model_version=sample.model_version,
                    log_evidence=sample.log_evidence,
                    effects=EffectsBody.of(sample.effects),
                    drifts=list(sample.standing),
                )
                for sample in samples
            ],
        )


def _drift_body(drift: Drift) -> DriftBody:
    fields: dict[str, object] = {
        "severity": drift.severity,
        "log_evidence": drift.log_evidence,
        "log_evidence_threshold": drift.log_evidence_threshold,
        "since": utc(drift.since),
        "effect": drift.effect,
    }
    match drift.kind:
        case DriftKind.MEAN_SHIFT:
            return MeanShiftBody.model_validate(
                fields
                | {
                    "z_score": drift.measure,
                    "baseline_mean": drift.baseline,
                    "current_mean": drift.current,
                }
            )
        case DriftKind.VARIANCE_CHANGE:
            return VarianceChangeBody.model_validate(
                fields
                | {
                    "variance_ratio": drift.measure,
                    "baseline_std": drift.baseline,
                    "current_std": drift.current,
                }
            )
        case DriftKind.SHAPE_CHANGE:
            return ShapeChangeBody.model_validate(fields | {"distance": drift.measure})
        case DriftKind.LATENCY_ANOMALY:
            return LatencyAnomalyBody.model_validate(
                fields
                | {
                    "z_score": drift.measure,
                    "baseline_mean_ms": drift.baseline,
                    "current_mean_ms": drift.current,
                }
            )
        case DriftKind.CALIBRATION_SHIFT:
            return CalibrationShiftBody.model_validate(
                fields
                | {
                    "form": drift.form,
                    "calibration_ratio": drift.measure,
                    "predicted_clicks": drift.baseline,
                    "clicks": drift.current,
                }
            )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MILLISECONDS
