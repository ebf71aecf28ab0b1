"""The bets of the test: one cell per form, side, and size of a miscalibration."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.calibration.ticks import CalibrationTicks, Floats, Miscalibration

SIZES = 0.03 * 2.0 ** np.arange(7)
"""Of the level: logarithms of how many times more clicks than the zone allows, 3 % to a factor 7.
Of the slope, but for the last: the same for predictions one spread above the middle."""
_PRIOR = np.array([0.8, 1.0, 1.4, 1.4, 1.2, 1.0, 0.6])
_SHARES = {Miscalibration.LEVEL: 0.7, Miscalibration.SLOPE: 0.3}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bets:
    """The cells, shape ``(m,)`` each; those of the level come first."""

    form: NDArray[np.int64]
    """Index into :class:`Miscalibration`."""
    stake: Floats
    """Positive where more clicks are betted on, of all predictions or of the high ones."""
    weight: Floats
    zone: float

    @classmethod
    def of(cls, zone: float) -> Self:
        """Lay out the cells.

        Args:
            zone: Share by which clicks may be more or fewer than predicted, 0 to below 1.
        """
        forms, stakes, weights = [], [], []
        for index, (form, share) in enumerate(_SHARES.items()):
            sizes = SIZES if form is Miscalibration.LEVEL else SIZES[:-1]
            prior = _PRIOR[: len(sizes)] / _PRIOR[: len(sizes)].sum()
            for side in (-1.0, 1.0):
                forms += [index] * len(sizes)
                stakes += (side * sizes).tolist()
                weights += (share / 2 * prior).tolist()
        return cls(
            form=np.array(forms), stake=np.array(stakes), weight=np.array(weights), zone=zone
        )

    def log_factors(self, ticks: CalibrationTicks) -> Floats:
        """Logarithm of each cell's e-value at each tick, before clumps are allowed for.

        With ``K`` clicks on ``N`` predictions that add up to ``P``, stake ``a``, and ``c`` the
        near end of the zone, that of the level is

            a K - N log(1 + c P/N (e^a - 1))

        A click of true probability ``q`` has ``E e^(a y) = 1 + q (e^a - 1)``, at most that of
        ``q = c p``, and the mean of a concave function is at most that of the mean (Jensen).

        That of the slope, with ``x = a h`` and ``h`` how high a prediction is, is

            a T - zone |a| sum |h| p - (1 + zone) sum p (e^x - 1 - x),    T = sum h over clicks

        as ``log(1 + q (e^x - 1)) <= q x + q (e^x - 1 - x)``, where ``q x`` differs from ``p x`` by
        at most ``zone p |x|``, and ``sum p h = 0``. Each has mean <= 1 where every click comes,
        given all before, with a probability within the zone about ``p``. That a click comes or
        does not is all that is used: nothing is taken for normal.

        Returns:
            Shape ``(t, m)``.
        """
        level = self.stake[self.form == 0]
        n, clicks = ticks.predictions[:, None], ticks.clicks[:, None]
        edge = 1 + np.sign(level) * self.zone
        mean = ticks.promised[:, None] / np.maximum(n, 1.0)
        by_level = level * clicks - n * np.log1p(edge * mean * np.expm1(level))
        slope = self.stake[self.form == 1]
        rest = np.stack([ticks.price_of_tilt(stake) for stake in slope.tolist()], axis=1)
        unsure = self.zone * np.abs(slope) * ticks.leverage[:, None]
        by_slope = slope * ticks.tilt[:, None] - unsure - (1 + self.zone) * rest
        return np.concatenate([by_level, by_slope], axis=1)
