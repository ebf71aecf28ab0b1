"""The bets on changes of shares: what each makes of a tick, and of five minutes.

Two routes. The **quick** one bets at every tick on gross changes, thirty points beyond the zone:
a tick is a single observation between 0 and 1, whatever the number of its rows and however they
hang together, so that nothing but its mean enters. The **patient** one adds five minutes up and
bets on changes just beyond the zone. There the number of rows counts, divided by the design
effect: as many rows as would, if independent, vary as much as shares were seen to vary.
"""

from dataclasses import dataclass

import numpy as np

from service.monitoring.feature_drift.dispersion import Floats

BLOCK_SECONDS = 300
CHANGES = (0.012, 0.03, 0.08, 0.2, 0.5)
"""Changes beyond the zone that are betted on; less where there is no such room."""
PATIENT = 2 * len(CHANGES)
"""Of the cells, shape ``(PATIENT + 2, v)``, the first; half of them bet on more, half on less."""
_MOST_PER_BLOCK = 1.5
"""So that a burst which ends within an hour is no alarm, however great."""
_GROSS = 0.3
_GROSS_ON_CLOCK = 0.05
"""Who is asked about the wrong hour is so at once and altogether."""
_STAKE = 0.9
_LEAST_ROOM = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """The zone on both sides, as the greatest share that is no change.

    First row: of each value; second row: of all others together. Shape ``(2, v)``.
    """

    patient: Floats
    quick: Floats

    @classmethod
    def of(cls, low: Floats, high: Floats, on_clock: Floats) -> "Limits":
        """Lay the two sides out; where there is no room to change the limit is 1."""
        patient = np.stack([high, 1 - low])
        quick = patient + np.where(on_clock, _GROSS_ON_CLOCK, _GROSS)
        return cls(_with_room(patient), _with_room(quick))


def quick_log_factors(shares: Floats, limits: Floats) -> Floats:
    """Logarithm of the quick bets' e-values; 0 where the limit is 1.

    ``1 + stake (x / m - 1)`` has mean at most 1 where x >= 0 has mean at most m, given the past.

    Args:
        shares: Of the tick, by side, shape ``(2, v)``.
        limits: ``m``, shape ``(2, v)``.

    Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (2024).
    """
    return np.where(limits < 1, np.log1p(_STAKE * (shares / limits - 1)), 0.0)


def patient_log_factors(shares: Floats, limits: Floats, variance: Floats) -> Floats:
    """Logarithm of the patient bets' e-values; 0 where the limit is 1.

    The likelihood ratio of a binomial share against the limit ``m``, to the power that makes its
    variance the given one: ``k (tilt x - log(1 - m + m exp(tilt)))`` with ``k = m (1 - m) /
    variance`` rows. Its exponential has mean at most 1 where rows come in independent clusters
    of ``rows / k``, and approximately where sums of clusters are light-tailed. It is cut off
    above, which can only lower the mean.

    Args:
        shares: Of the block, by side, shape ``(2, v)``.
        limits: ``m``, shape ``(2, v)``.
        variance: Of the shares, shape ``(2, v)``.

    Returns:
        Shape ``(PATIENT, v)``.

    Source: Lindon & Malek, "Anytime-valid inference for multinomial count data" (2022); Rao &
    Scott (1981) for the design effect.
    """
    room = 1 - limits
    possible = room > 0
    m = np.where(possible, limits, 0.5)
    rows = m * (1 - m) / variance
    found = []
    for change in CHANGES:
        # Near the change where there is room for it, always short of a share of 1.
        q = m + (1 - m) * -np.expm1(-change / (1 - m))
        tilt = np.log(q / m) - np.log((1 - q) / (1 - m))
        curve = np.log1p(m * np.expm1(tilt))
        factor = np.minimum(rows * (tilt * shares - curve), _MOST_PER_BLOCK)
        found.append(np.where(possible, factor, 0.0))
    return np.concatenate(found)


def log_weights(sizes: list[int]) -> Floats:
    """Logarithm of each cell's share in its feature: half for either route.

    Args:
        sizes: Number of values of each feature.

    Returns:
        Shape ``(PATIENT + 2, v)``.
    """
    values = np.concatenate([np.full(size, float(size)) for size in sizes])
    patient = np.broadcast_to(-np.log(2 * PATIENT * values), (PATIENT, len(values)))
    quick = np.broadcast_to(-np.log(4 * values), (2, len(values)))
    return np.concatenate([patient, quick])


def _with_room(limits: Floats) -> Floats:
    return np.where(limits < 1 - _LEAST_ROOM, limits, 1.0)
