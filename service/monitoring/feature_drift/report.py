"""What the state means for each feature, in the units of the REST contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.monitoring.feature_drift.bets import BLOCK_SECONDS
from service.monitoring.feature_drift.course import UNSEEN
from service.monitoring.feature_drift.detector import FeatureDetector
from service.monitoring.feature_drift.dispersion import Floats
from service.monitoring.feature_drift.stability import population_stability_index
from service.monitoring.feature_drift.state import FeatureState

_MOST_MOVED = 3
_WORTH_NAMING = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedValue:
    """A value whose share changed."""

    value: str
    """Of a feature that follows the clock a lead, such as ``clock-1``: an hour (day) behind."""
    baseline_share: float
    """At the same hours of the day."""
    current_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """The answer for one feature; None stands for "there is no such number"."""

    feature: str
    psi: float | None
    """Over the drift window, in nats."""
    unseen_rate: float | None
    """Over the drift window."""
    baseline_unseen_rate: float | None
    """At the same hours of the day."""
    log_evidence: float | None
    """Natural logarithm, after the last tick."""
    drift_detected: bool
    since: float | None
    """Unix seconds; of drift that stands."""
    moved: Sequence[MovedValue]
    """Those that changed most."""
    reason: str | None
    """Why there is less than all of this."""


def feature_drifts(
    detector: FeatureDetector | None,
    unusable: Mapping[str, str],
    state: FeatureState | None,
    *,
    window_start: float,
    min_predictions: int,
) -> Sequence[FeatureDrift]:
    """Describe what a state says.

    Args:
        detector: Of the features that can be judged; None where there is none.
        unusable: Why the others cannot be judged, by feature.
        state: After the last tick; None before the first.
        window_start: Blocks that begin earlier do not count for effect sizes; Unix seconds.
        min_predictions: Fewer decide nothing.
    """
    judged = (
        []
        if detector is None
        else [
            _judged(detector, feature, state, window_start, min_predictions)
            for feature in detector.courses
        ]
    )
    return [*judged, *(_unknown(feature, reason) for feature, reason in unusable.items())]


def _judged(
    detector: FeatureDetector,
    feature: str,
    state: FeatureState | None,
    window_start: float,
    min_predictions: int,
) -> FeatureDrift:
    if state is None:
        return _unknown(feature, "nothing was judged yet")
    place = list(detector.courses).index(feature)
    counts, expected = _window(detector, feature, state, window_start)
    rows = float(counts.sum())
    evidence = state.log_evidence[place]
    if rows < min_predictions:
        reason = f"{rows:.0f} predictions in the window; {min_predictions} decide"
        return _unknown(feature, reason, evidence)
    values = detector.courses[feature].values
    shares = counts / rows
    standing = state.standing[place]
    unseen = values.index(UNSEEN) if UNSEEN in values else None
    moved = np.argsort(-np.abs(shares - expected))[:_MOST_MOVED]
    return FeatureDrift(
        feature=feature,
        psi=population_stability_index(expected, counts),
        unseen_rate=None if unseen is None else float(shares[unseen]),
        baseline_unseen_rate=None if unseen is None else float(expected[unseen]),
        log_evidence=evidence,
        drift_detected=standing is not None,
        since=None if standing is None else standing.since,
        moved=[
            MovedValue(
                value=values[i],
                baseline_share=float(expected[i]),
                current_share=float(shares[i]),
            )
            for i in moved.tolist()
            if abs(shares[i] - expected[i]) >= _WORTH_NAMING
        ],
        reason=None,
    )


def _window(
    detector: FeatureDetector, feature: str, state: FeatureState, start: float
) -> tuple[Floats, Floats]:
    """Rows by value, and the baseline's shares at the times when these rows came."""
    course, part = detector.courses[feature], detector.part_of(feature)
    pending = () if state.pending is None else (state.pending,)
    counts, expected = np.zeros(len(course.values)), np.zeros(len(course.values))
    for block in (*state.blocks, *pending):
        if block.number * BLOCK_SECONDS >= start:
            its = block.counts[part]
            counts += its
            expected += its.sum() * course.at(block.middle).shares
    total = expected.sum()
    return counts, expected / total if total else expected


def _unknown(feature: str, reason: str, log_evidence: float | None = None) -> FeatureDrift:
    return FeatureDrift(
        feature=feature,
        psi=None,
        unseen_rate=None,
        baseline_unseen_rate=None,
        log_evidence=log_evidence,
        drift_detected=False,
        since=None,
        moved=(),
        reason=reason,
    )
