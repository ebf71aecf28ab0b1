"""Thresholds that panels draw: those that health and the alerts judge by, never others."""

from service.monitoring.objectives import (
    AVERAGE_LATENCY,
    BRIDGE_LATE,
    CALIBRATION,
    DRIFT_EVIDENCE,
    ERROR_RATE,
    EVALUATION_STOPPED,
)
from service.monitoring.statistics import MILLISECONDS, PERCENT

ERROR_RATIO = ERROR_RATE.limit / PERCENT
LATENCY_SECONDS = AVERAGE_LATENCY.limit / MILLISECONDS
DRIFT_LOG_EVIDENCE = DRIFT_EVIDENCE.limit
CALIBRATION_RATIO = CALIBRATION.limit
SNAPSHOT_AGE_SECONDS = EVALUATION_STOPPED.limit
BRIDGE_LAG_SECONDS = BRIDGE_LATE.limit
COMPLETENESS_RATIO = 1.0
"""Nothing of a closed day may be missing."""
