"""What the state of the test of calibration means."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.monitoring.calibration.detector import MIN_CLICKS, CalibrationDetector
from service.monitoring.calibration.state import CalibrationState
from service.monitoring.calibration.ticks import Miscalibration

CHANNELS = {
    Miscalibration.LEVEL: "calibration_level",
    Miscalibration.SLOPE: "calibration_slope",
}
"""Names of the evidence among drift's."""
_SEVERE_ZONES = 3.0
"""A miscalibration of so many zones is severe: 30 % where 10 % are no matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationShift:
    """Clicks do not come as predicted."""

    form: Miscalibration
    severe: bool
    since: float
    """When it is estimated to have begun, in Unix seconds."""
    promised: float
    """Clicks that predictions add up to, over the span that explains the evidence best by now."""
    clicks: float
    """Clicks on them."""
    effect: float
    """Share by which clicks are more than predicted; for a slope those of high predictions."""

    @property
    def ratio(self) -> float | None:
        """Predicted clicks for one that came; None where none came."""
        return self.promised / self.clicks if self.clicks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """The answer for one model version."""

    clicks: float
    """Seen since the version began to be watched."""
    until: float | None
    """End of the last cohort whose clicks are complete, in Unix seconds; None before the first."""
    log_evidence: float | None
    """After the last cohort, a natural logarithm; None before the test began."""
    log_evidence_by_channel: Mapping[str, float]
    shift: CalibrationShift | None

    @property
    def decided(self) -> bool:
        """Whether there are enough clicks to say anything."""
        return self.clicks >= MIN_CLICKS


def report(detector: CalibrationDetector, state: CalibrationState) -> CalibrationReport:
    """Describe what a state says."""
    by_form = detector.log_evidence_by_form(state)
    return CalibrationReport(
        clicks=state.clicks,
        until=state.end,
        log_evidence=state.log_evidence if by_form else None,
        log_evidence_by_channel={CHANNELS[form]: value for form, value in by_form.items()},
        shift=_shift(detector, state),
    )


def _shift(detector: CalibrationDetector, state: CalibrationState) -> CalibrationShift | None:
    form, change = detector.change(state)
    if state.active is None or change is None:
        return None
    effect = change.level if form is Miscalibration.LEVEL else change.slope
    return CalibrationShift(
        form=form,
        severe=abs(effect) >= _SEVERE_ZONES * detector.zone,
        since=state.active.since,
        promised=change.promised,
        clicks=change.clicks,
        effect=effect,
    )
