"""Runs the test of calibration of every model over cohorts whose clicks are complete."""

from itertools import islice

from service.monitoring.calibration.detector import CalibrationDetector
from service.monitoring.calibration.report import CalibrationReport, report
from service.monitoring.calibration.state import CalibrationState
from service.monitoring.calibration.ticks import CalibrationTicks
from service.monitoring.clicks import minute_of
from service.monitoring.counts import ModelVersion
from service.sources.active_baselines import ActiveBaselines
from service.sources.cohorts import Cohorts
from service.state.keyed import KeyedValues

_MOST_COHORTS = 240
"""After an outage so many are made up for in one minute, so that no tick waits for them."""


class CalibrationWatch:
    """The tests of one scope."""

    def __init__(
        self,
        *,
        values: KeyedValues,
        scope: str,
        cohorts: Cohorts,
        baselines: ActiveBaselines,
        zone: float,
    ) -> None:
        self._values = values
        self._scope = scope
        self._cohorts = cohorts
        self._baselines = baselines
        self._zone = zone

    def advance(self, now: float) -> None:
        """Fold the cohorts that have ripened into every model's state, each once.

        Args:
            now: Unix seconds.
        """
        for model, version in self._baselines.models.items():
            self._advance(ModelVersion(model, version), now)

    def report(self, served: ModelVersion) -> CalibrationReport:
        """Describe the calibration of a model version as of its last cohort."""
        detector = self._detector(served)
        return report(detector, self._load(served.model, detector) or detector.start())

    def _advance(self, served: ModelVersion, now: float) -> None:
        detector = self._detector(served)
        state = self._load(served.model, detector)
        if state is None:
            # Nothing was predicted before the version was served.
            self._save(served.model, detector.start(end=minute_of(now)))
            return
        done = now if state.end is None else state.end
        cohorts = self._cohorts.minutes(served, minute_of(done), self._cohorts.mature_until(now))
        ripe = list(islice(cohorts, _MOST_COHORTS))
        if ripe:
            state, _ = detector.advance(state, CalibrationTicks.of(ripe))
            self._save(served.model, state)

    def _detector(self, served: ModelVersion) -> CalibrationDetector:
        return CalibrationDetector(zone=self._zone, key=served.version)

    def _load(self, model: str, detector: CalibrationDetector) -> CalibrationState | None:
        state = self._values.read(self._scope, _name(model), CalibrationState.from_json)
        return state if state is not None and detector.fits(state) else None

    def _save(self, model: str, state: CalibrationState) -> None:
        self._values.save(self._scope, _name(model), state.to_json().encode())


def _name(model: str) -> str:
    return f"calibration:{model}"
