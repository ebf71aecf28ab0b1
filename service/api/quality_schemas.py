"""Bodies of the quality endpoint."""

import math
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field

from service.api.monitoring_schemas import utc
from service.api.scopes import ScopeBody, ScopeName, staleness
from service.monitoring.interval import Interval
from service.monitoring.quality.measures import MIN_CLICKS, QualityStatus, Shortage
from service.monitoring.quality.reliability import ReliabilityRow
from service.monitoring.quality.report import QualityReport
from service.monitoring.snapshot import Snapshot

IntervalBody = tuple[float, float]
"""Lower and upper end, with 95 % confidence."""


class ReliabilityRowBody(BaseModel):
    """The predictions of one bucket of the score: above ``lower``, up to ``upper``."""

    lower: float
    upper: float
    predictions: int
    clicks: int
    mean_prediction: Annotated[
        float, Field(description="Estimated; in the bucket, and adding up to the exact total.")
    ]
    ctr: float
    ctr_interval: IntervalBody

    @classmethod
    def of(cls, row: ReliabilityRow) -> Self:
        """Map the core's value."""
        return cls(
            lower=row.lower,
            upper=row.upper,
            predictions=row.predictions,
            clicks=row.clicks,
            mean_prediction=row.mean_prediction,
            ctr=row.ctr,
            ctr_interval=row.ctr_interval,
        )


class QualityBody(ScopeBody):
    """The quality of one model version; null stands for "there is no such number".

    Judged on predictions whose attribution window is over. Intervals hold the truth in 95 % of
    cases if predictions are independent.
    """

    model_name: str
    model_version: str
    status: QualityStatus
    shortage: Annotated[
        Shortage | None, Field(description="What there is too little of to judge by.")
    ]
    predictions: int
    clicks: int
    ctr: float | None
    ctr_interval: IntervalBody | None
    mean_prediction: float | None
    calibration_ratio: Annotated[
        float | None, Field(description="Sum of predictions over clicks; above 1 is too many.")
    ]
    calibration_interval: Annotated[
        tuple[float, float | None] | None,
        Field(description="Without a click it has no upper end: null."),
    ]
    log_loss: Annotated[float | None, Field(description="Nats; exact.")]
    log_loss_interval: IntervalBody | None
    normalized_entropy: Annotated[
        float | None,
        Field(description="Log loss over that of always predicting the CTR; below 1 is better."),
    ]
    normalized_entropy_interval: IntervalBody | None
    auc: Annotated[
        float | None, Field(description="From buckets, with half credit within a bucket.")
    ]
    auc_bounds: Annotated[
        IntervalBody | None, Field(description="The AUC of the scores themselves is within.")
    ]
    auc_interval: Annotated[
        IntervalBody | None, Field(description="The bounds, widened by sampling.")
    ]
    reliability: list[ReliabilityRowBody]
    window_start: Annotated[datetime, Field(description="Of the predictions that are judged.")]
    window_end: datetime
    attribution_window_seconds: float
    maturing_predictions: Annotated[
        int, Field(description="Answered since; their clicks may still come.")
    ]
    maturing_clicks: Annotated[int, Field(description="That have come for those so far.")]
    sufficient_at: Annotated[
        datetime | None,
        Field(
            description="When what there is by now will suffice; null where it does already, or "
            "where more traffic is needed."
        ),
    ]
    min_predictions: Annotated[int, Field(description="Fewer are too little to judge by.")]
    min_clicks: Annotated[int, Field(description="Fewer, or fewer non-clicks, are too little.")]

    @classmethod
    def of(cls, report: QualityReport, scope: ScopeName, newest: Snapshot) -> Self:
        """Map the core's value; ``newest`` is the latest reading of the scope."""
        quality = report.quality
        losses, ranking = quality.losses, quality.ranking
        return cls(
            model_name=report.model.model,
            model_version=report.model.version,
            status=quality.status,
            shortage=quality.shortage,
            predictions=quality.predictions,
            clicks=quality.clicks,
            ctr=quality.ctr,
            ctr_interval=quality.ctr_interval,
            mean_prediction=quality.mean_prediction,
            calibration_ratio=quality.calibration_ratio,
            calibration_interval=_half_open(quality.calibration_interval),
            log_loss=losses.log_loss if losses else None,
            log_loss_interval=losses.log_loss_interval if losses else None,
            normalized_entropy=losses.normalized_entropy if losses else None,
            normalized_entropy_interval=losses.normalized_entropy_interval if losses else None,
            auc=ranking.auc if ranking else None,
            auc_bounds=ranking.bounds if ranking else None,
            auc_interval=ranking.interval if ranking else None,
            reliability=[ReliabilityRowBody.of(row) for row in quality.reliability],
            window_start=utc(quality.window_start),
            window_end=utc(quality.window_end),
            attribution_window_seconds=report.attribution_seconds,
            maturing_predictions=report.maturing_predictions,
            maturing_clicks=report.maturing_clicks,
            sufficient_at=None if report.sufficient_at is None else utc(report.sufficient_at),
            min_predictions=report.min_predictions,
            min_clicks=MIN_CLICKS,
            scope=scope,
            replicas_seen=newest.instances,
            staleness_seconds=staleness(newest.at),
        )


def _half_open(interval: Interval | None) -> tuple[float, float | None] | None:
    if interval is None:
        return None
    return interval.low, None if math.isinf(interval.high) else interval.high
