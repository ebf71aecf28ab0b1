"""Who reads an A/B test: ours, and the usual tests on impressions, applied at every look."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from service.monitoring.experiment.arms import Arm, ArmCounts
from service.monitoring.experiment.comparison import Verdict
from service.monitoring.experiment.report import (
    LEVEL,
    MISMATCH_LEVEL,
    ExperimentReport,
    ExperimentStatus,
)

Reader = Callable[[Sequence[Arm], ExperimentReport], bool]
"""Whether something is announced at a look, given our judgement of it."""

_TWO_SIDED = NormalDist().inv_cdf(1 - LEVEL / 2)
_WINNERS = {Verdict.BETTER, Verdict.WORSE}


def declares(_: Sequence[Arm], ours: ExperimentReport) -> bool:
    """Ours: a challenger is better or worse."""
    return any(one.verdict in _WINNERS for one in ours.comparisons)


def declares_lift(_: Sequence[Arm], ours: ExperimentReport) -> bool:
    """Ours: a challenger is better."""
    return any(one.verdict is Verdict.BETTER for one in ours.comparisons)


def finds_mismatch(_: Sequence[Arm], ours: ExperimentReport) -> bool:
    """Ours: the arms do not get the users that the weights promise."""
    return ours.status is ExperimentStatus.MISMATCH


def two_proportion_z(arms: Sequence[Arm], _: ExperimentReport) -> bool:
    """Every challenger against the first, pooled, two-sided, each impression for itself."""
    return any(abs(_z(arms[0].counts, arm.counts)) > _TWO_SIDED for arm in arms[1:])


def chi_square(arms: Sequence[Arm], _: ExperimentReport) -> bool:
    """Impressions against the weights, each impression for itself, at our level."""
    shown = np.array([arm.counts.impressions.sum() for arm in arms])
    weights = np.array([arm.weight for arm in arms])
    if not shown.sum():
        return False
    expected = shown.sum() * weights / weights.sum()
    return bool(((shown - expected) ** 2 / expected).sum() > _chi_square_limit(len(arms) - 1))


@cache
def _chi_square_limit(degrees: int) -> float:
    return float(stats.chi2.isf(MISMATCH_LEVEL, degrees))


def one_cell_each(arms: Sequence[Arm]) -> list[Arm]:
    """Spread impressions over cells as if each were a user of its own: a planted fault.

    The variance between such cells is that of impressions, so whoever holds evidence against it
    must be found out by the false alarms.
    """
    rng = np.random.default_rng(int(sum(arm.counts.impressions.sum() for arm in arms)))

    def scattered(counts: ArmCounts) -> ArmCounts:
        cells = len(counts.impressions)
        clicks = rng.multinomial(int(counts.clicks.sum()), np.full(cells, 1 / cells))
        rest = int(counts.impressions.sum() - counts.clicks.sum())
        others = rng.multinomial(rest, np.full(cells, 1 / cells))
        return replace(counts, clicks=_floats(clicks), impressions=_floats(clicks + others))

    return [replace(arm, counts=scattered(arm.counts)) for arm in arms]


def _floats(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts.astype(np.float64)


def _z(kept: ArmCounts, tried: ArmCounts) -> float:
    shown = np.array([kept.impressions.sum(), tried.impressions.sum()])
    clicked = np.array([kept.clicks.sum(), tried.clicks.sum()])
    common = float(clicked.sum() / max(shown.sum(), 1.0))
    if not shown.all() or not 0 < common < 1:
        return 0.0
    spread = math.sqrt(common * (1 - common) * float((1 / shown).sum()))
    return float(clicked[1] / shown[1] - clicked[0] / shown[0]) / spread
