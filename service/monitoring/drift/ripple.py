"""Changes that no smooth function shows: mass moved between neighbouring buckets.

Scores of tree models are sums of a few leaves. When leaves change, the law ripples: every second
bucket gains what the next one loses. One bet per such pattern would be too many bets; here the bet
is learnt from the ticks before, which costs no validity: it is settled before the tick is seen.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import HOURS_PER_DAY
from service.monitoring.drift.profile import SECONDS_PER_DAY
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats

WINDOWS = np.array([6.0, 24.0, 96.0, 384.0])
"""Ticks that the learnt bets look back on, exponentially fading."""
_KEPT = 1 - 1 / WINDOWS
_LEAST_MASS = 0.005
"""Neighbouring buckets are joined until each has this share."""
_LEAST_DIRECTIONS = 3
_LEAST_RATIO = 0.1
_ERRORS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RippleReference:
    """The law of the joined buckets, and the directions that the smooth channels look after."""

    groups: NDArray[np.int64]
    """First bucket of each group, shape ``(g,)``."""
    laws: Floats
    """Probability per group at the middle of each hour, the first repeated, shape ``(25, g)``."""
    flat: bool
    projection: Floats
    """Takes the smooth directions out of a relative deviation, shape ``(g, g)``."""
    directions: int
    """How many are left."""
    radius: float
    """How far the law may be from the baseline's, as a root of chi-square."""

    @classmethod
    def of(
        cls, hourly_counts: Floats, functions: Floats, *, radius: float, flat: bool
    ) -> Self | None:
        """Prepare; None where too few directions are left, or no hour tells its law.

        Args:
            hourly_counts: Observations per hour of the day and bucket, shape ``(24, b)``.
            functions: The smooth channels per bucket, shape ``(b, c)``.
            radius: What is immaterial, before the baseline's own error.
            flat: Whether the law is the same all day.
        """
        law = hourly_counts.sum(axis=0) / hourly_counts.sum()
        groups = _groups(law)
        directions = len(groups) - 1 - functions.shape[1]
        if directions < _LEAST_DIRECTIONS:
            return None
        mass = np.add.reduceat(law, groups)
        smooth = np.add.reduceat(law[:, None] * functions, groups, axis=0) / mass[:, None]
        basis = np.column_stack([np.ones(len(groups)), smooth])
        q = np.linalg.qr(basis * np.sqrt(mass)[:, None])[0] / np.sqrt(mass)[:, None]
        counts = np.add.reduceat(hourly_counts, groups, axis=1)
        size = counts.sum(axis=1, keepdims=True)
        enough = size[:, 0] > len(groups) / _LEAST_MASS
        hourly = np.where(enough[:, None], counts / np.maximum(size, 1), mass)
        if not flat and not enough.any():
            return None
        least = float(size.sum()) if flat else float(size[enough].min())
        laws = np.repeat(mass[None, :], HOURS_PER_DAY, axis=0) if flat else hourly
        return cls(
            groups=groups,
            laws=np.concatenate([laws, laws[:1]]),
            flat=flat,
            projection=np.eye(len(groups)) - (mass[:, None] * q) @ q.T,
            directions=directions,
            radius=radius + _ERRORS * float(np.sqrt(directions / least)),
        )

    def start(self) -> Floats:
        """Give the memory before the first tick."""
        return np.zeros(len(WINDOWS) * (len(self.groups) + 2))

    def fold(self, memory: Floats, time: Floats, quantity: Aggregates) -> tuple[Floats, Floats]:
        """Settle the bets of adjacent ticks and learn from them.

        The bet on a tick is the likelihood ratio of what was learnt, ``1 + r`` against 1, of
        which the price of a law within the radius is taken off: by Cauchy-Schwarz
        ``E (1 + r) <= 1 + chi(law, baseline) * chi(r)``.

        Args:
            memory: From the tick before.
            time: End of each nominal tick in Unix seconds, shape ``(t,)``.
            quantity: The ticks.

        Returns:
            The memory after the last tick, and the logarithm of the e-value per tick and window,
            shape ``(t, w)``. What was learnt is shrunk towards nothing as James and Stein do.
        """
        size = len(self.groups)
        learnt = memory.reshape(len(WINDOWS), size + 2)
        sums, mass, mass_squared = learnt[:, :size], learnt[:, size], learnt[:, size + 1]
        counts = np.add.reduceat(quantity.buckets, self.groups, axis=1)
        total = counts.sum(axis=1)
        law = self._law(time)
        relative = counts / law - total[:, None]
        factors = np.zeros((len(time), len(WINDOWS)))
        kept, kept_squared = _KEPT, _KEPT**2
        for t in range(len(time)):
            n = total[t]
            if not n:
                continue
            p = law[t]
            deviation = (sums / np.maximum(mass, 1e-9)[:, None]) @ self.projection
            chi_square = np.maximum((deviation * deviation) @ p, 1e-12)
            chance = self.directions * mass_squared / np.maximum(mass * mass, 1e-9)
            shrunk = np.maximum(1 - chance / chi_square, 0.0)
            if shrunk.any():
                ratio = np.maximum(1 + shrunk[:, None] * deviation, _LEAST_RATIO)
                ratio /= (ratio @ p)[:, None]
                price = self.radius * np.sqrt((ratio - 1) ** 2 @ p)
                factors[t] = np.log(ratio) @ counts[t] - n * price
            sums = sums * kept[:, None] + relative[t]
            mass = mass * kept + n
            mass_squared = mass_squared * kept_squared + n
        return np.column_stack([sums, mass, mass_squared]).ravel(), factors

    def _law(self, time: Floats) -> Floats:
        if self.flat:
            return np.broadcast_to(self.laws[0], (len(time), len(self.groups)))
        hour = ((time - TICK_SECONDS / 2) % SECONDS_PER_DAY) / 3600 - 0.5
        before = np.floor(hour).astype(np.int64)
        rest = (hour - before)[:, None]
        before %= HOURS_PER_DAY
        return np.asarray(self.laws[before] * (1 - rest) + self.laws[before + 1] * rest)


def _groups(law: Floats) -> NDArray[np.int64]:
    starts, mass = [0], 0.0
    for bucket, share in enumerate(law):
        if mass >= _LEAST_MASS:
            starts.append(bucket)
            mass = 0.0
        mass += float(share)
    if mass < _LEAST_MASS and len(starts) > 1:
        starts.pop()
    return np.array(starts)
