"""When clicks began to differ from what was predicted, and by how much."""

from dataclasses import dataclass

import numpy as np

from service.monitoring.calibration.ticks import CalibrationTicks, Floats, Miscalibration

_SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is different since the estimated start."""

    minutes: float
    """How long ago it began."""
    promised: float
    """Clicks that the predictions since then add up to."""
    clicks: float
    slope: float
    """Share by which high predictions get more clicks than they promise, and low ones fewer."""

    @property
    def level(self) -> float:
        """Share by which there are more clicks than predicted."""
        return self.clicks / self.promised - 1


def columns(ticks: CalibrationTicks, before: float | None) -> Floats:
    """What is summed up for :func:`change_since`, a row per cohort, shape ``(t, 5)``.

    Args:
        ticks: The cohorts.
        before: End of the last one before them. A gap belongs to the cohort after it.
    """
    first = ticks.start[0] if before is None else before
    minutes = np.diff(ticks.end, prepend=first) / _SECONDS_PER_MINUTE
    return np.column_stack([minutes, ticks.promised, ticks.clicks, ticks.tilt, ticks.leverage])


def change_since(sums: Floats, form: Miscalibration, zone: float) -> Change | None:
    """Estimate when a miscalibration began.

    The start is where the likelihood ratio of the clicks since then, against the near end of the
    zone, is greatest; of a slope by the normal law, whose variance is that of Poisson clicks.

    Args:
        sums: Of :func:`columns` from every possible start until now, shape ``(r, 5)``.
        form: What the evidence is of.
        zone: Share by which clicks may be off.

    Returns:
        None where nothing was predicted.
    """
    sums = sums[sums[:, 1] > 0]
    if not len(sums):
        return None
    _, promised, clicks, tilt, leverage = sums.T
    if form is Miscalibration.LEVEL:
        ratio = clicks / promised
        edge = ratio.clip(1 - zone, 1 + zone)
        gain = promised * (edge - ratio) + clicks * np.log(np.where(clicks > 0, ratio / edge, 1.0))
    else:
        gain = (np.abs(tilt) - zone * leverage).clip(min=0.0) ** 2 / promised
    best = int(np.argmax(gain))
    return Change(
        minutes=float(sums[best, 0]),
        promised=float(promised[best]),
        clicks=float(clicks[best]),
        slope=float(tilt[best] / leverage[best]) if leverage[best] > 0 else 0.0,
    )
