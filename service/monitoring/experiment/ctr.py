"""The CTR of one arm, and the difference between two, as sums over cells of users."""

from service.monitoring.experiment.arms import Arm, ArmCounts
from service.monitoring.experiment.evidence import CellSum, sharpest_at
from service.monitoring.interval import Interval

SHARPEST_CLICKS = 500
"""Clicks at which an interval is as tight as can be; fixed beforehand, so that it holds."""


def ctr_interval(counts: ArmCounts, level: float) -> Interval | None:
    """Give the CTRs of an arm that have not been rejected, at any time.

    Users are taken as drawn from all users, so the terms are of mean zero but not symmetric: for
    rare clicks the interval rests on the central limit over users.

    Args:
        counts: Of the arm.
        level: Probability that the true CTR is ever outside.

    Returns:
        None where there are too few users to tell.
    """
    estimate = counts.ctr
    if estimate is None:
        return None
    found = CellSum.symmetric(counts.clicks, counts.impressions).interval(
        level=level, scale=sharpest_at(SHARPEST_CLICKS, level), time_at=estimate
    )
    return None if found is None else Interval(max(found.low, 0.0), min(found.high, 1.0))


def difference(baseline: Arm, challenger: Arm) -> CellSum | None:
    """Give the sum whose mean is zero at the true difference of the CTRs.

    Had the challenger's clicks been fewer by the true difference times its impressions, nothing
    would depend on the arm. Each user's surplus of clicks over the common CTR would then count
    for the challenger or against it by the toss that assigned the user. Summed over the users of
    a cell::

        (1 - p) (k_C - x n_C - r n_C) - p (k_B - r n_B),   r = (k_C - x n_C + k_B) / (n_C + n_B)

    with p the challenger's share, k clicks, n impressions, r over all cells. The sum over cells
    is zero at x = CTR_C - CTR_B. It is in clicks: its variance is about p (1 - p) times them.

    Returns:
        None while an arm has no impression.
    """
    tried, kept = challenger.counts, baseline.counts
    tried_total, kept_total = float(tried.impressions.sum()), float(kept.impressions.sum())
    if not tried_total or not kept_total:
        return None
    share = challenger_share(baseline, challenger)
    common = float(tried.clicks.sum() + kept.clicks.sum()) / (tried_total + kept_total)
    tried_part = tried_total / (tried_total + kept_total)
    tried_surplus = tried.clicks - common * tried.impressions
    kept_surplus = kept.clicks - common * kept.impressions
    tried_weight = (1 - tried_part) * tried.impressions
    kept_weight = -tried_part * kept.impressions
    return CellSum.randomised(
        (1 - share) * tried_surplus - share * kept_surplus,
        (1 - share) * tried_weight - share * kept_weight,
        share=share,
        totals=(tried_surplus + kept_surplus, tried_weight + kept_weight),
    )


def difference_scale(baseline: Arm, challenger: Arm, level: float) -> float:
    """Scale of the mixture for the difference: depends on the weights alone."""
    share = challenger_share(baseline, challenger)
    return sharpest_at(share * (1 - share) * SHARPEST_CLICKS, level)


def challenger_share(baseline: Arm, challenger: Arm) -> float:
    """Probability that a user of either arm is one of the challenger's."""
    return challenger.weight / (challenger.weight + baseline.weight)
