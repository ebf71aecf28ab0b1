"""Features that follow the clock are compared by how far they are ahead of it.

The hour that a request names is right or wrong only beside the hour in which it came. Ahead of the
clock by so many hours (days), modulo the day (week), it has one distribution all day long, in
whatever time zone the clients live.
"""

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import HOURS_PER_DAY

DAYS_PER_WEEK = 7
SECONDS_PER_HOUR, SECONDS_PER_DAY = 3600, 86_400
_FIRST_WEEKDAY = 3
"""1970-01-01 was a Thursday; 0 is Monday."""

PERIODS = {"hour": HOURS_PER_DAY, "day_of_week": DAYS_PER_WEEK}
"""Values of each feature that follows the clock, ``0`` to one less."""


def hour_of_day(time: float) -> int:
    """Hour of the UTC day, of Unix seconds."""
    return int(time // SECONDS_PER_HOUR) % HOURS_PER_DAY


def clock(feature: str, time: float) -> int:
    """What the feature would be if requests were made in UTC."""
    if feature == "hour":
        return hour_of_day(time)
    return int(time // SECONDS_PER_DAY + _FIRST_WEEKDAY) % DAYS_PER_WEEK


def ahead(counts: NDArray[np.int64], now: int) -> NDArray[np.int64]:
    """Order the counts of values ``0, 1, ...`` by how far they are ahead of ``now``."""
    return np.roll(counts, -now, axis=-1)


def name_of(lead: int, period: int) -> str:
    """Name a lead, such as ``clock`` or ``clock-1``."""
    signed = lead if lead <= period // 2 else lead - period
    return f"clock{signed:+d}" if signed else "clock"
