"""Is each model well? Named checks with value, threshold and the number of observations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from service.monitoring.calibration.report import CalibrationReport
from service.monitoring.calibration.ticks import Miscalibration
from service.monitoring.counts import ModelCounts
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import DriftReport, DriftStatus
from service.monitoring.statistics import MILLISECONDS, PERCENT


class HealthStatus(StrEnum):
    """The seed's three words."""

    HEALTHY = "healthy"
    WARNING = "warning"
    DEGRADED = "degraded"


class HealthLevel(IntEnum):
    """The value of the metric ``ctr_health_status``."""

    HEALTHY = 0
    WARNING = 1
    DEGRADED = 2


class CheckStatus(StrEnum):
    """The outcome of one check; without enough data there is none."""

    OK = "ok"
    WARNING = "warning"
    DEGRADED = "degraded"
    INSUFFICIENT_DATA = "insufficient_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """Thresholds; a value above its threshold degrades."""

    error_rate_percent: float
    latency_ms: float
    min_requests: int
    """Fewer in the window decide nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question put to one model."""

    name: str
    status: CheckStatus
    value: float | None
    threshold: float
    unit: str
    observations: int
    """Requests in the window; of calibration, clicks."""
    last_decided: CheckStatus | None
    """What the check said when it last had enough data; None where it keeps its alarms itself."""
    finding: str = ""
    """What was found, where value and threshold do not say it."""

    @property
    def standing(self) -> CheckStatus:
        """What counts for the status: too little data neither raises nor clears an alarm."""
        if self.status is CheckStatus.INSUFFICIENT_DATA:
            return self.last_decided or CheckStatus.INSUFFICIENT_DATA
        return self.status


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHealth:
    """The checks of one model over one window."""

    model_name: str
    checks: Sequence[Check]
    counts: ModelCounts

    @property
    def status(self) -> HealthStatus:
        """The worst of the checks."""
        standing = {check.standing for check in self.checks}
        if CheckStatus.DEGRADED in standing:
            return HealthStatus.DEGRADED
        if CheckStatus.WARNING in standing:
            return HealthStatus.WARNING
        return HealthStatus.HEALTHY

    @property
    def alerts(self) -> Sequence[str]:
        """A sentence for each check that is not well."""
        return [
            _sentence(self.model_name, check)
            for check in self.checks
            if check.standing in {CheckStatus.WARNING, CheckStatus.DEGRADED}
        ]


DRIFT_CHECK = "drift"
CALIBRATION_CHECK = "calibration"

Decided = Mapping[str, CheckStatus]
"""The last decided status of each check of one model, by name."""


def judge(
    model_name: str,
    counts: ModelCounts,
    *,
    policy: HealthPolicy,
    decided: Decided,
    drift: DriftReport | None = None,
) -> ModelHealth:
    """Put every check to a model.

    Args:
        model_name: Which model.
        counts: What it did over the health window.
        policy: The thresholds.
        decided: What the checks said when they last had enough data.
        drift: What drift detection says, where it runs.
    """
    error_ratio, latency = counts.error_ratio, counts.durations.mean
    questions = (
        (
            "error_rate",
            None if error_ratio is None else error_ratio * PERCENT,
            policy.error_rate_percent,
            "percent",
        ),
        (
            "avg_latency",
            None if latency is None else latency * MILLISECONDS,
            policy.latency_ms,
            "ms",
        ),
    )
    requests = round(counts.requests)
    enough = requests >= policy.min_requests
    return ModelHealth(
        model_name=model_name,
        counts=counts,
        checks=[
            *(
                Check(
                    name=name,
                    status=_status(value, threshold) if enough else CheckStatus.INSUFFICIENT_DATA,
                    value=value,
                    threshold=threshold,
                    unit=unit,
                    observations=requests,
                    last_decided=decided.get(name),
                )
                for name, value, threshold, unit in questions
            ),
            *([] if drift is None else [_drift_check(drift, decided.get(DRIFT_CHECK))]),
            *(
                []
                if drift is None or drift.calibration is None
                else [_calibration_check(drift.calibration)]
            ),
        ],
    )


def overall(models: Sequence[ModelHealth], *, others_warn: bool = False) -> HealthStatus:
    """The worst status of any model, at least a warning where something else is not well."""
    least = HealthStatus.WARNING if others_warn else HealthStatus.HEALTHY
    return max(
        (least, *(model.status for model in models)),
        key=lambda status: HealthLevel[status.name],
    )


def _drift_check(drift: DriftReport, last_decided: CheckStatus | None) -> Check:
    status = {
        DriftStatus.OK: CheckStatus.OK,
        DriftStatus.DRIFT: CheckStatus.WARNING,
    }.get(drift.baseline_status, CheckStatus.INSUFFICIENT_DATA)
    kinds = ", ".join(
        found.kind.replace("_", " ")
        for found in drift.drifts
        if found.kind is not DriftKind.CALIBRATION_SHIFT
    )
    return Check(
        name=DRIFT_CHECK,
        status=status,
        value=drift.log_evidence,
        threshold=LOG_THRESHOLD,
        unit="nats",
        observations=drift.observations,
        last_decided=last_decided,
        finding=f"drift from the baseline: {kinds}" if kinds else "",
    )


def _calibration_check(found: CalibrationReport) -> Check:
    """Clicks that are missing clear nothing: an alarm is a part of the test's own state."""
    shift, finding = found.shift, ""
    if shift is not None:
        what = "clicks" if shift.form is Miscalibration.LEVEL else "clicks on high predictions"
        more = "more" if shift.effect > 0 else "fewer"
        finding = f"{what} are {abs(shift.effect):.0%} {more} than predicted"
    status = CheckStatus.OK if found.decided else CheckStatus.INSUFFICIENT_DATA
    return Check(
        name=CALIBRATION_CHECK,
        status=CheckStatus.WARNING if finding else status,
        value=found.log_evidence,
        threshold=LOG_THRESHOLD,
        unit="nats",
        observations=round(found.clicks),
        last_decided=None,
        finding=finding,
    )


def _status(value: float | None, threshold: float) -> CheckStatus:
    return CheckStatus.DEGRADED if value is not None and value > threshold else CheckStatus.OK


def _sentence(model: str, check: Check) -> str:
    name = check.name.replace("_", " ")
    if check.status is CheckStatus.INSUFFICIENT_DATA:
        return (
            f"{model}: {name} was {check.standing} when last decided; "
            f"{check.observations} requests since are too few to decide again"
        )
    if check.finding:
        return f"{model}: {check.finding}"
    return (
        f"{model}: {name} {check.value:.4g} {check.unit} is above {check.threshold:g} {check.unit}"
    )
