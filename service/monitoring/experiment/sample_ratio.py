"""Whether the variants get the users that their weights promise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.monitoring.experiment.arms import Arm, Floats
from service.monitoring.experiment.evidence import CellSum

_SCALES = tuple(10.0**power for power in range(13))
"""Squared impressions. How much users bring is not known beforehand, so all scales are tried."""
_USUAL = 3.0
"""A cell within so many median deviations of the others is as good as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmShare:
    """An arm's part of the impressions."""

    model_name: str
    expected: float
    observed: float | None
    """None without an impression."""
    evidence: float | None
    """Log e-value against "its users are as many as promised", a natural logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """The shares of all arms."""

    mismatch: bool
    evidence: float | None
    """The greatest of the arms'; None without an impression."""
    evidence_threshold: float
    shares: Sequence[ArmShare]


def sample_ratio(arms: Sequence[Arm], level: float) -> SampleRatio:
    """Hold each arm's impressions against its share of the users.

    Users are what was assigned, and a user's impressions are as many as they are: over the users
    of a cell ``n_arm - p n_all`` is of mean zero, with p the arm's share. A variant that makes its
    users come more often, or errors that drop some of its answers, are found as well: either way
    the CTRs of the arms are no longer of the same users.

    Args:
        arms: At least two, of positive weight.
        level: Probability that a mismatch is ever found where there is none.
    """
    every: Floats = np.sum([arm.counts.impressions for arm in arms], axis=0)
    weights = sum(arm.weight for arm in arms)
    shares = [_share(arm, every, arm.weight / weights) for arm in arms]
    # Of two arms, one has what the other lacks.
    tests = 1 if len(arms) == 2 else len(arms)  # noqa: PLR2004
    threshold = math.log(tests / level)
    found = [share.evidence for share in shares if share.evidence is not None]
    evidence = max(found, default=None)
    return SampleRatio(
        mismatch=evidence is not None and evidence >= threshold,
        evidence=evidence,
        evidence_threshold=threshold,
        shares=shares,
    )


def _trust(deviations: Floats) -> Floats:
    usual = _USUAL * float(np.median(np.abs(deviations)))
    return np.asarray(1 / (1 + (deviations / usual) ** 2)) if usual else np.ones_like(deviations)


def _share(arm: Arm, every: Floats, share: float) -> ArmShare:
    total = float(every.sum())
    observed = evidence = None
    if total:
        observed = float(arm.counts.impressions.sum()) / total
        # Of the median: a giant moves the mean of all cells.
        deviations = every - np.median(every)
        trust = _trust(deviations)
        nothing = np.zeros_like(every)
        terms = CellSum.randomised(
            trust * (arm.counts.impressions - share * every),
            nothing,
            share=share,
            totals=(trust * deviations, nothing),
        )
        evidence = terms.log_evidence(0.0, *_SCALES)
    return ArmShare(model_name=arm.model_name, expected=share, observed=observed, evidence=evidence)
