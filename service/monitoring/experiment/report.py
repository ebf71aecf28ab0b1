"""What an experiment says: of each variant, of each challenger, and whether to believe it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from service.monitoring.experiment.arms import Arm
from service.monitoring.experiment.comparison import Comparison, Verdict, compare
from service.monitoring.experiment.ctr import ctr_interval
from service.monitoring.experiment.sample_ratio import SampleRatio, sample_ratio
from service.monitoring.interval import Interval

LEVEL = 0.05
"""Probability that a winner is ever declared between equals, over all challengers."""
MISMATCH_LEVEL = 0.005
"""Probability that a mismatch is ever found where there is none, over all arms."""
MARGIN = 0.02
"""A difference within this share of the baseline's CTR has no meaning."""


class ExperimentStatus(StrEnum):
    """How far an experiment is."""

    NO_EXPERIMENT = "no_experiment"
    INSUFFICIENT_DATA = "insufficient_data"
    UNDECIDED = "undecided"
    DECIDED = "decided"
    MISMATCH = "mismatch"
    """The arms do not get the users that their weights promise: no verdict is given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """One arm by itself."""

    arm: Arm
    impressions: float
    users_cells: int
    """Cells of users, of 64, that it was given any of."""
    clicks: float
    ctr: float | None
    """None without an impression."""
    ctr_interval: Interval | None
    """Holds at every look; None where there are too few users to tell."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentReport:
    """The answer."""

    name: str
    key: str
    """As its metrics are labelled; empty where there are none."""
    status: ExperimentStatus
    variants: Sequence[Variant]
    comparisons: Sequence[Comparison]
    """Of every challenger with the first variant."""
    sample_ratio: SampleRatio | None
    """None without an experiment."""
    summary: str
    """In words."""

    @property
    def comparison(self) -> Comparison | None:
        """The first that is decided, or else the first."""
        decided = (one for one in self.comparisons if one.verdict is not Verdict.UNDECIDED)
        return next(decided, self.comparisons[0] if self.comparisons else None)


def report(
    name: str, arms: Sequence[Arm], *, key: str = "", margin: float = MARGIN
) -> ExperimentReport:
    """Judge an experiment by its counts.

    Args:
        name: Of the experiment.
        arms: The variants of positive weight, the baseline first; a single one is no experiment.
        key: As its metrics are labelled.
        margin: Share of the baseline's CTR that is a difference without a meaning.
    """
    if len(arms) <= 1:
        return ExperimentReport(
            name=name,
            key=key,
            status=ExperimentStatus.NO_EXPERIMENT,
            variants=[],
            comparisons=[],
            sample_ratio=None,
            summary="No experiment: one model gets all users.",
        )
    baseline, *challengers = arms
    level = LEVEL / len(challengers)
    comparisons = [
        compare(baseline, challenger, level=level, margin=margin) for challenger in challengers
    ]
    ratio = sample_ratio(arms, MISMATCH_LEVEL)
    if ratio.mismatch:
        comparisons = [_withheld(comparison) for comparison in comparisons]
    return ExperimentReport(
        name=name,
        key=key,
        status=_status(comparisons, ratio),
        variants=[_variant(arm) for arm in arms],
        comparisons=comparisons,
        sample_ratio=ratio,
        summary=_summary(comparisons, ratio),
    )


def _variant(arm: Arm) -> Variant:
    counts = arm.counts
    return Variant(
        arm=arm,
        impressions=float(counts.impressions.sum()),
        users_cells=int(np.count_nonzero(counts.impressions)),
        clicks=float(counts.clicks.sum()),
        ctr=counts.ctr,
        ctr_interval=ctr_interval(counts, LEVEL),
    )


def _withheld(comparison: Comparison) -> Comparison:
    return replace(
        comparison,
        verdict=Verdict.UNDECIDED,
        sentence=(
            f"Undecided: {comparison.challenger} and {comparison.baseline} are not shown to "
            "comparable users."
        ),
    )


def _status(comparisons: Sequence[Comparison], ratio: SampleRatio) -> ExperimentStatus:
    if ratio.mismatch:
        return ExperimentStatus.MISMATCH
    if any(one.verdict is not Verdict.UNDECIDED for one in comparisons):
        return ExperimentStatus.DECIDED
    if all(one.interval is None for one in comparisons):
        return ExperimentStatus.INSUFFICIENT_DATA
    return ExperimentStatus.UNDECIDED


def _summary(comparisons: Sequence[Comparison], ratio: SampleRatio) -> str:
    if not ratio.mismatch:
        return " ".join(one.sentence for one in comparisons)
    most = max(
        (share for share in ratio.shares if share.observed is not None),
        key=lambda share: share.evidence or 0.0,
    )
    return (
        f"Sample-ratio mismatch: {most.model_name} has {most.observed:.2%} of the impressions, "
        f"its users should bring {most.expected:.2%}. No verdict until the cause is known."
    )
