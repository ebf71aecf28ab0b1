"""Which variant has the better CTR, once the evidence is there."""

import math
from dataclasses import dataclass
from enum import StrEnum

from service.monitoring.experiment.arms import Arm
from service.monitoring.experiment.ctr import difference, difference_scale
from service.monitoring.interval import Interval


class Verdict(StrEnum):
    """What is known of a challenger."""

    UNDECIDED = "undecided"
    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A challenger held against the baseline."""

    baseline: str
    """Model name."""
    challenger: str
    difference: float | None
    """CTR of the challenger less that of the baseline; None while an arm has no impression."""
    interval: Interval | None
    """Differences that have not been rejected at any time; None where the data bound nothing."""
    relative_interval: Interval | None
    """The same as shares of the baseline's CTR; None where it has no click."""
    evidence: float | None
    """Log e-value against "no difference", a natural logarithm."""
    evidence_threshold: float
    verdict: Verdict
    sentence: str
    """The verdict in words."""


def compare(baseline: Arm, challenger: Arm, *, level: float, margin: float) -> Comparison:
    """Hold a challenger against the baseline.

    Args:
        baseline: The variant that is there to be beaten.
        challenger: Another one.
        level: Probability that the interval ever leaves out the true difference.
        margin: Share of the baseline's CTR that is a difference without a meaning.
    """
    ctr = baseline.counts.ctr
    terms = difference(baseline, challenger)
    clicks = float(baseline.counts.clicks.sum() + challenger.counts.clicks.sum())
    estimate = interval = evidence = None
    if terms is not None:
        estimate = terms.estimate()
        if clicks:
            scale = difference_scale(baseline, challenger, level)
            interval = terms.interval(level=level, scale=scale, time_at=0.0)
            evidence = terms.log_evidence(0.0, scale) if interval is not None else None
    relative = None
    if interval is not None and ctr:
        relative = Interval(interval.low / ctr, interval.high / ctr)
    verdict = _verdict(interval, margin * (ctr or 0.0))
    return Comparison(
        baseline=baseline.model_name,
        challenger=challenger.model_name,
        difference=estimate,
        interval=interval,
        relative_interval=relative,
        evidence=evidence,
        evidence_threshold=-math.log(level),
        verdict=verdict,
        sentence=_sentence(baseline, challenger, verdict, interval, relative),
    )


def _verdict(interval: Interval | None, least: float) -> Verdict:
    if interval is None:
        return Verdict.UNDECIDED
    if -least < interval.low and interval.high < least:
        return Verdict.EQUIVALENT
    if interval.low > 0:
        return Verdict.BETTER
    return Verdict.WORSE if interval.high < 0 else Verdict.UNDECIDED


def _sentence(
    baseline: Arm,
    challenger: Arm,
    verdict: Verdict,
    interval: Interval | None,
    relative: Interval | None,
) -> str:
    unseen = [arm.model_name for arm in (baseline, challenger) if arm.counts.ctr is None]
    if unseen:
        return f"Undecided: no impressions of {' and '.join(unseen)} yet."
    if interval is None:
        return (
            f"Undecided: too few clicks, or too few users behind them, to compare "
            f"{challenger.model_name} with {baseline.model_name}."
        )
    bounds = f"between {interval.low:+.2%} and {interval.high:+.2%} of the impressions"
    if relative is not None:
        # Beyond what a CTR can be, a bound says nothing.
        low = max(relative.low, -1.0)
        bounds = f"between {low:+.1%} and {relative.high:+.1%} of {baseline.model_name}'s"
    pair = f"{challenger.model_name} and {baseline.model_name}"
    match verdict:
        case Verdict.UNDECIDED:
            return f"Undecided: the CTR of {challenger.model_name} differs by {bounds}."
        case Verdict.EQUIVALENT:
            return f"{pair} are equivalent: their CTRs differ by {bounds}."
        case Verdict.BETTER | Verdict.WORSE:
            return (
                f"{challenger.model_name} is {verdict} than {baseline.model_name}: "
                f"its CTR differs by {bounds}."
            )
