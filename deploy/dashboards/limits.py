"""Thresholds that panels draw: those that health and the alerts judge by, never others."""

from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.statistics import MILLISECONDS, PERCENT
from service.settings import Settings

_DEFAULTS = Settings.model_fields

ERROR_RATIO: float = _DEFAULTS["error_rate_threshold"].default / PERCENT
LATENCY_SECONDS: float = _DEFAULTS["latency_threshold_ms"].default / MILLISECONDS
DRIFT_LOG_EVIDENCE = LOG_THRESHOLD
SNAPSHOT_AGE_SECONDS = 60.0
"""Twelve ticks: nobody takes snapshots any more."""
BRIDGE_LAG_SECONDS = 3 * float(_DEFAULTS["bridge_window"].default)
"""Three windows that are over and not in MLflow."""
COMPLETENESS_RATIO = 1.0
"""Nothing of a closed day may be missing."""
