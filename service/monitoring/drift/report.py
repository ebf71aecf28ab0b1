"""What the detector's state means in the units of the REST contract."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from service.monitoring.calibration.report import CalibrationReport
from service.monitoring.calibration.ticks import Miscalibration
from service.monitoring.counts import ModelCounts
from service.monitoring.drift.budget import LOG_THRESHOLD, WINDOW_LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.reference import QuantityReference, Reference
from service.monitoring.drift.state import DriftState, QuantityState
from service.monitoring.drift.window_test import (
    DriftThresholds,
    WindowSums,
    shift_z,
    window_evidence,
)
from service.monitoring.histogram import HistogramCounts
from service.monitoring.statistics import MILLISECONDS
from service.monitoring.window import Window

_SHAPE_HIGH = 0.2


class DriftStatus(StrEnum):
    """Whether there is drift, or why nothing is said."""

    OK = "ok"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"
    NO_BASELINE = "no_baseline"


class Severity(StrEnum):
    """The seed's two words."""

    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One kind of drift, with the effect over the drift window."""

    kind: DriftKind
    severity: Severity
    measure: float | None
    """z, variance ratio, distance, or predicted clicks for one that came, as the kind has it."""
    baseline: float | None
    """The number of the baseline that the effect is held against; None for a shape. Of a
    calibration: predicted clicks."""
    current: float | None
    """Of a calibration: clicks."""
    effect: float
    """Relative change of the mean or of the variance; total variation distance of the shape; share
    by which clicks are more than predicted."""
    log_evidence: float
    log_evidence_threshold: float
    since: float
    """Unix seconds."""
    form: Miscalibration | None = None
    """Of a calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """How far the drift window is from the baseline, drift or not; None where nobody can say."""

    mean_shift: float | None = None
    """Relative change of the mean prediction."""
    variance_ratio: float | None = None
    """Variance of the predictions against the baseline's."""
    shape_distance: float | None = None
    """Total variation distance of the predictions' buckets, 0 to 1."""
    latency_shift: float | None = None
    """Relative change of the mean latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """The answer for one model."""

    model_name: str
    baseline_status: DriftStatus
    """Of what is held against the baseline: predictions and latency."""
    drifts: Sequence[Drift]
    """Calibration's comes last."""
    effects: Effects
    counts: ModelCounts
    """Over the drift window."""
    window: Window
    log_evidence: float | None
    """Greatest of both quantities; None before the first tick."""
    commissioning: bool
    """Whether the wander is not known and the zone therefore wide."""
    calibration: CalibrationReport | None
    """What clicks say; None where they are not looked at."""

    @property
    def status(self) -> DriftStatus:
        """Whether there is drift of any kind."""
        return DriftStatus.DRIFT if self.drifts else self.baseline_status

    @property
    def observations(self) -> int:
        """Predictions in the window."""
        return round(self.counts.predictions.count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One quantity of a report."""

    reference: QuantityReference
    state: QuantityState
    seen: HistogramCounts
    scale: float
    z_high: float

    @property
    def sums(self) -> WindowSums:
        """Of the last window, as the window tests see it."""
        return WindowSums.of(self.state.window[:, 1:].sum(axis=0, keepdims=True))

    def window(self) -> "_WindowEffects":
        """Hold the last hour's sums against the baseline, hour by hour."""
        windows = self.sums
        course = self.reference.course
        return _WindowEffects(
            observations=float(windows.count[0]),
            z=float(shift_z(self.reference, windows)[0]),
            ratio=float(windows.variance_ratio[0]),
            shift=float(windows.shift[0]) * course.std / course.mean,
        )


class _WindowEffects(NamedTuple):
    observations: float
    z: float
    ratio: float
    shift: float


def report(
    model_name: str,
    reference: Reference | None,
    state: DriftState | None,
    *,
    counts: ModelCounts,
    window: Window,
    thresholds: DriftThresholds,
    calibration: CalibrationReport | None = None,
) -> DriftReport:
    """Describe what a state says.

    Args:
        model_name: Whose state.
        reference: What is normal; None where there is no baseline.
        state: After the last tick; None before the first.
        counts: Of the model over the drift window.
        window: That window.
        thresholds: Of the severities.
        calibration: What clicks say, where they are looked at.
    """
    drifts: list[Drift] = []
    effects = Effects()
    decided = counts.predictions.count >= thresholds.min_predictions
    if reference is not None and state is not None and decided:
        sides = [
            _Side(
                reference=reference.predictions,
                state=state.quantities[0],
                seen=counts.predictions,
                scale=1.0,
                z_high=thresholds.mean_z_high,
            )
        ]
        if reference.latency is not None:
            sides.append(
                _Side(
                    reference=reference.latency,
                    state=state.quantities[1],
                    seen=counts.durations,
                    scale=MILLISECONDS,
                    z_high=thresholds.latency_z_high,
                )
            )
        drifts = [drift for side in sides for drift in _drifts(side, window, thresholds)]
        effects = _effects(*sides)
    return DriftReport(
        model_name=model_name,
        baseline_status=_status(reference, drifts, decided=decided),
        drifts=[*drifts, *_calibration_drifts(calibration)],
        effects=effects,
        counts=counts,
        window=window,
        log_evidence=None
        if state is None
        else max(quantity.log_evidence for quantity in state.quantities),
        commissioning=reference is not None and reference.predictions.commissioning,
        calibration=calibration,
    )


def _status(reference: Reference | None, drifts: Sequence[Drift], *, decided: bool) -> DriftStatus:
    if reference is None:
        return DriftStatus.NO_BASELINE
    if not decided:
        return DriftStatus.INSUFFICIENT_DATA
    return DriftStatus.DRIFT if drifts else DriftStatus.OK


def _calibration_drifts(calibration: CalibrationReport | None) -> Sequence[Drift]:
    if calibration is None or calibration.shift is None or calibration.log_evidence is None:
        return []
    shift = calibration.shift
    return [
        Drift(
            kind=DriftKind.CALIBRATION_SHIFT,
            severity=Severity.HIGH if shift.severe else Severity.MEDIUM,
            measure=shift.ratio,
            baseline=shift.promised,
            current=shift.clicks,
            effect=shift.effect,
            log_evidence=calibration.log_evidence,
            log_evidence_threshold=LOG_THRESHOLD,
            since=shift.since,
            form=shift.form,
        )
    ]


def _drifts(side: _Side, window: Window, thresholds: DriftThresholds) -> list[Drift]:
    state = side.state
    since = {kind: window.start for kind, _ in state.window_kinds}
    threshold = dict.fromkeys(since, WINDOW_LOG_THRESHOLD)
    evidence = {kind: float(window_evidence(kind, side.reference, side.sums)[0]) for kind in since}
    if state.active is not None:
        since[state.active.kind] = state.active.since
        threshold[state.active.kind] = LOG_THRESHOLD
        evidence[state.active.kind] = state.log_evidence
    if not since:
        return []
    seen = side.window()
    found = []
    for kind in DriftKind:
        if kind not in since:
            continue
        measure, baseline, current, effect, high = _effect(side, kind, seen, thresholds)
        found.append(
            Drift(
                kind=kind,
                severity=Severity.HIGH if high else Severity.MEDIUM,
                measure=measure,
                baseline=baseline,
                current=current,
                effect=effect,
                log_evidence=evidence[kind],
                log_evidence_threshold=threshold[kind],
                since=since[kind],
            )
        )
    return found


def _effects(predictions: _Side, latency: _Side | None = None) -> Effects:
    found = predictions.window()
    timed = None if latency is None else latency.window()
    return Effects(
        mean_shift=found.shift if found.observations else None,
        variance_ratio=found.ratio if found.observations else None,
        shape_distance=_distance(predictions),
        latency_shift=timed.shift if timed is not None and timed.observations else None,
    )


def _effect(
    side: _Side, kind: DriftKind, window: _WindowEffects, thresholds: DriftThresholds
) -> tuple[float | None, float | None, float | None, float, bool]:
    course, seen, z, ratio = side.reference.course, side.seen, window.z, window.ratio
    if kind is DriftKind.VARIANCE_CHANGE:
        most = thresholds.variance_ratio_high
        return ratio, course.std, seen.std, ratio - 1, ratio >= most or ratio <= 1 / most
    if kind is DriftKind.SHAPE_CHANGE:
        distance = _distance(side)
        return distance, None, None, distance or 0.0, (distance or 0.0) >= _SHAPE_HIGH
    current = None if seen.mean is None else seen.mean * side.scale
    return abs(z), course.mean * side.scale, current, window.shift, abs(z) > side.z_high


def _distance(side: _Side) -> float | None:
    law, count = side.reference.course.law, side.seen.count
    if law is None or not count or len(law) != len(side.seen.cumulative):
        return None
    found = np.diff(side.seen.cumulative, prepend=0.0) / count
    distance = float(np.abs(found - law).sum() / 2)
    return distance if math.isfinite(distance) else None
