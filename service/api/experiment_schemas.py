"""Bodies of the experiment endpoint; null stands for "there is no such number"."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from service.api.monitoring_schemas import utc
from service.api.scopes import ScopeBody, ScopeName, staleness
from service.monitoring.cells import CELLS
from service.monitoring.experiment.comparison import Comparison, Verdict
from service.monitoring.experiment.report import ExperimentStatus, Variant
from service.monitoring.experiment.sample_ratio import SampleRatio
from service.monitoring.statistics import MILLISECONDS, PERCENT
from service.sources.experiment_watch import ExperimentSight

Bounds = Annotated[tuple[float, float] | None, Field(description="[low, high]")]


class VariantBody(BaseModel):
    """One variant by itself."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    weight: float
    predictions: Annotated[
        int, Field(description="For users whom the experiment gave this variant; complete ones.")
    ]
    users_cells: Annotated[
        int, Field(description=f"Groups of users by hash, of {CELLS}, with any of those.")
    ]
    clicks: Annotated[int, Field(description="On those.")]
    ctr: float | None
    ctr_interval: Bounds
    requests: Annotated[int, Field(description="To the version, whoever asked for it.")]
    calibration_ratio: Annotated[
        float | None,
        Field(description="Predicted clicks per click, of all predictions of the version."),
    ]
    avg_latency_ms: Annotated[float | None, Field(description="Of those requests.")]
    error_rate: Annotated[float | None, Field(description="Percent of those.")]
    immature_predictions: Annotated[
        int, Field(description="Later ones, whose clicks may still come in; not in the numbers.")
    ]

    @classmethod
    def of(cls, variant: Variant, immature: float) -> Self:
        """Map the core's value."""
        served = variant.arm.counts.served
        return cls(
            model_name=variant.arm.model_name,
            model_version=variant.arm.model.version,
            weight=variant.arm.weight,
            predictions=round(variant.impressions),
            users_cells=variant.users_cells,
            clicks=round(variant.clicks),
            ctr=variant.ctr,
            ctr_interval=variant.ctr_interval,
            requests=round(served.requests),
            calibration_ratio=served.calibration_ratio,
            avg_latency_ms=_scaled(served.mean_seconds, MILLISECONDS),
            error_rate=_scaled(served.error_ratio, PERCENT),
            immature_predictions=round(immature),
        )


class ComparisonBody(BaseModel):
    """A challenger against the baseline, the first variant of the experiment."""

    baseline: str
    challenger: str
    difference: Annotated[float | None, Field(description="CTR of the challenger less the other.")]
    interval: Annotated[
        tuple[float, float] | None,
        Field(description="Differences that have not been rejected; null while nothing is."),
    ]
    relative_interval: Annotated[
        tuple[float, float] | None, Field(description="As shares of the baseline's CTR.")
    ]
    evidence: Annotated[float | None, Field(description="Natural logarithm.")]
    evidence_threshold: float
    verdict: Verdict
    sentence: str

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        """Map the core's value."""
        return cls(
            baseline=comparison.baseline,
            challenger=comparison.challenger,
            difference=comparison.difference,
            interval=comparison.interval,
            relative_interval=comparison.relative_interval,
            evidence=comparison.evidence,
            evidence_threshold=comparison.evidence_threshold,
            verdict=comparison.verdict,
            sentence=comparison.sentence,
        )


class ShareBody(BaseModel):
    """A variant's part of the impressions."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    expected: float
    observed: float | None


class SampleRatioBody(BaseModel):
    """Whether the variants get the users that their weights promise."""

    mismatch: bool
    evidence: Annotated[float | None, Field(description="Natural logarithm.")]
    evidence_threshold: float
    shares: list[ShareBody]

    @classmethod
    def of(cls, ratio: SampleRatio) -> Self:
        """Map the core's value."""
        return cls(
            mismatch=ratio.mismatch,
            evidence=ratio.evidence,
            evidence_threshold=ratio.evidence_threshold,
            shares=[
                ShareBody(
                    model_name=share.model_name, expected=share.expected, observed=share.observed
                )
                for share in ratio.shares
            ],
        )


class ExperimentBody(ScopeBody):
    """The A/B test."""

    name: str
    status: ExperimentStatus
    summary: Annotated[str, Field(description="What is known, in words.")]
    variants: list[VariantBody]
    comparison: Annotated[
        ComparisonBody | None, Field(description="The first that is decided, or else the first.")
    ]
    comparisons: list[ComparisonBody]
    sample_ratio: SampleRatioBody | None
    window_start: Annotated[
        datetime | None, Field(description="First minute of predictions that counts.")
    ]
    window_end: Annotated[
        datetime | None, Field(description="Clicks on later predictions may still come in.")
    ]

    @classmethod
    def of(cls, sight: ExperimentSight, scope: ScopeName) -> Self:
        """Map what the watch knows."""
        report = sight.report
        ratio, comparison = report.sample_ratio, report.comparison
        return cls(
            name=report.name,
            status=report.status,
            summary=report.summary,
            variants=[
                VariantBody.of(variant, sight.immature.get(variant.arm.model_name, 0.0))
                for variant in report.variants
            ],
            comparison=None if comparison is None else ComparisonBody.of(comparison),
            comparisons=[ComparisonBody.of(one) for one in report.comparisons],
            sample_ratio=None if ratio is None else SampleRatioBody.of(ratio),
            window_start=None if sight.began is None else utc(sight.began),
            window_end=None if sight.until is None else utc(sight.until),
            scope=scope,
            replicas_seen=sight.instances,
            staleness_seconds=staleness(sight.read_at),
        )


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
