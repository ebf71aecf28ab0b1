"""Where the dashboards lead to."""

from enum import StrEnum

RUNBOOKS = "docs/runbooks"
"""Default of the variable ``runbooks``: the folder in this repository."""


class Runbook(StrEnum):
    """The page that belongs to a panel, named after its alert."""

    ERRORS = "CtrErrorBudgetBurn"
    LATENCY = "CtrLatencyBudgetBurn"
    DRIFT = "CtrDrift"
    FEATURES = "CtrFeatureDrift"
    CALIBRATION = "CtrCalibrationOff"
    MISMATCH = "CtrSampleRatioMismatch"
    BRIDGE = "CtrBridgeBehind"
    EVALUATION = "CtrEvaluationStopped"
    TARGET = "CtrTargetDown"

    @property
    def url(self) -> str:
        """Address, below what the variable ``runbooks`` says."""
        return f"${{runbooks}}/{self.value}.md"
