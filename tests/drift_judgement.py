"""What the detector says of ticks, and ticks of special kinds."""

from drift_traffic import (
    MIDNIGHT,
)

from service.monitoring.drift.detector import DriftDetector, Evidence
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.ticks import Ticks

TOMORROW = MIDNIGHT + 86_400


def detector(reference: Reference) -> DriftDetector:
    return DriftDetector(reference, key="1")


def judged(reference: Reference, ticks: Ticks) -> Evidence:
    fresh = detector(reference)
    return fresh.advance(fresh.start(), ticks)[1]


def first(evidence: Evidence) -> tuple[int, DriftKind]:
    return evidence.alarms[0].tick, evidence.alarms[0].kind
