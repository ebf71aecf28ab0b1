"""What is good enough: every threshold that health and the alert rules share, stated once.

The defaults of the settings, the warnings of the bridge and the rules under ``deploy/`` come from
here; ``docs/alerting.md`` is checked against it.
"""

from dataclasses import dataclass

from service.monitoring.buckets import LATENCY_BOUNDS
from service.monitoring.calibration.detector import MIN_CLICKS as CLICKS_NEEDED
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.feature_drift.budget import LOG_THRESHOLD as FEATURE_LOG_THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A value that must not be passed."""

    name: str
    limit: float
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLevel:
    """The share of requests that must be good, of every model, over a period.

    Raises:
        ValueError: The bound is not one of the histogram's, so the share would be a guess.
    """

    name: str
    target_percent: float
    meaning: str
    bound_seconds: float | None = None
    """A request that takes longer is bad; None where time does not matter."""

    def __post_init__(self) -> None:
        if self.bound_seconds is not None and self.bound_seconds not in LATENCY_BOUNDS:
            raise ValueError(f"{self.bound_seconds} s is not a bound of the latency histogram")

    @property
    def budget(self) -> float:
        """Share of requests that may be bad, a ratio."""
        return round(1 - self.target_percent / 100, 9)


SLO_PERIOD_DAYS = 30

ERROR_SLO = ServiceLevel(
    name="errors",
    target_percent=99.9,
    meaning="Requests that the model answers.",
)
LATENCY_SLO = ServiceLevel(
    name="latency",
    target_percent=99.0,
    bound_seconds=0.1,
    meaning="Requests that are answered within 100 ms, errors included.",
)
SERVICE_LEVELS = (ERROR_SLO, LATENCY_SLO)

MIN_BAD_REQUESTS = Objective(
    name="bad requests",
    limit=5,
    unit="requests",
    meaning="Fewer in the longer window raise no burn-rate alert.",
)
ERROR_RATE = Objective(
    name="error rate",
    limit=5.0,
    unit="percent",
    meaning="Failed requests above which a model is degraded.",
)
AVERAGE_LATENCY = Objective(
    name="average latency",
    limit=1000.0,
    unit="ms",
    meaning="Mean duration of a request above which a model is degraded.",
)
HEALTH_WINDOW = Objective(
    name="health window",
    limit=300,
    unit="seconds",
    meaning="What health looks back over.",
)
MIN_REQUESTS = Objective(
    name="requests",
    limit=20,
    unit="requests",
    meaning="Fewer in the health window decide nothing.",
)
DRIFT_EVIDENCE = Objective(
    name="drift evidence",
    limit=LOG_THRESHOLD,
    unit="nats",
    meaning="Log evidence of a quantity from which it has drifted.",
)
FEATURE_DRIFT_EVIDENCE = Objective(
    name="feature drift evidence",
    limit=FEATURE_LOG_THRESHOLD,
    unit="nats",
    meaning="Log evidence of a feature from which it has drifted.",
)
CALIBRATION = Objective(
    name="calibration",
    limit=0.1,
    unit="ratio",
    meaning="Clicks may be so many more or fewer than predicted, as a share.",
)
MIN_CLICKS = Objective(
    name="clicks",
    limit=CLICKS_NEEDED,
    unit="clicks",
    meaning="Fewer on a model version decide nothing about its calibration.",
)
BRIDGE_SILENT = Objective(
    name="bridge silent",
    limit=30.0,
    unit="seconds",
    meaning="A bridge that has said nothing for so long is not running.",
)
BRIDGE_LATE = Objective(
    name="bridge late",
    limit=900.0,
    unit="seconds",
    meaning="A window that is over for so long and not in MLflow is worth a warning.",
)
BRIDGE_REFUSED = Objective(
    name="refused entries",
    limit=0,
    unit="entries",
    meaning="Entries that MLflow may refuse for good.",
)
EVALUATION_STOPPED = Objective(
    name="evaluation stopped",
    limit=180.0,
    unit="seconds",
    meaning="Age of the newest snapshot above which nobody judges: three of the longest intervals.",
)
UNREADABLE_FILES = Objective(
    name="unreadable files",
    limit=0,
    unit="files",
    meaning="Metrics files that may be left out of the counts.",
)
OBJECTIVES = (
    ERROR_RATE,
    AVERAGE_LATENCY,
    HEALTH_WINDOW,
    MIN_REQUESTS,
    MIN_BAD_REQUESTS,
    DRIFT_EVIDENCE,
    FEATURE_DRIFT_EVIDENCE,
    CALIBRATION,
    MIN_CLICKS,
    BRIDGE_SILENT,
    BRIDGE_LATE,
    BRIDGE_REFUSED,
    EVALUATION_STOPPED,
    UNREADABLE_FILES,
)
