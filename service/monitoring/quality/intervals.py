"""Confidence intervals, each with 95 % coverage, from counts alone."""

import math
from statistics import NormalDist

from service.monitoring.interval import Interval

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
"""Standard errors to either side of an estimate."""


def wilson(successes: float, trials: float) -> Interval:
    """Where a proportion lies of which ``successes`` in ``trials`` were seen.

    Args:
        successes: From 0 to ``trials``; need not be whole.
        trials: Above 0; need not be whole, where observations are worth fewer or more trials.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209; recommended for small counts by
    Brown, Cai & DasGupta, Statistical Science 16 (2001) 101.
    """
    share = successes / trials
    centre = share + Z**2 / (2 * trials)
    reach = Z * math.sqrt(share * (1 - share) / trials + (Z / (2 * trials)) ** 2)
    scale = 1 + Z**2 / trials
    # At 0 and 1 the interval ends there; rounding must not leave the estimate outside.
    return Interval(
        min(max((centre - reach) / scale, 0.0), share),
        max(min((centre + reach) / scale, 1.0), share),
    )


def clicks_per_expected(clicks: float, expected: float, expected_squares: float) -> Interval:
    """Where the factor c lies by which true click probabilities exceed predicted ones.

    The score interval: all c for which the clicks are within ``Z`` standard deviations of their
    number under click probabilities c p, which has the mean c sum(p) and the variance
    c sum(p) - c^2 sum(p^2). That is a quadratic inequality in c. With all p equal it is Wilson's
    interval, with small p the score interval of a Poisson count.

    Args:
        clicks: At least 0.
        expected: Sum of the predictions p, above 0.
        expected_squares: Sum of p^2.

    Source: the score method of Wilson (1927), applied to a sum of unequal Bernoulli variables.
    """
    # In expected clicks c sum(p), and divided twice: the square of what is tiny would be zero.
    square = 1 + Z**2 * (expected_squares / expected / expected)
    half = clicks + Z**2 / 2
    reach = math.sqrt(max(half**2 - square * clicks**2, 0.0))
    low, high = (half - reach) / square, (half + reach) / square
    return Interval(max(low, 0.0) / expected, high / expected)


def normal(estimate: float, standard_error: float) -> Interval:
    """Where the mean of a positive quantity lies, by the central limit theorem."""
    return Interval(max(estimate - Z * standard_error, 0.0), estimate + Z * standard_error)
