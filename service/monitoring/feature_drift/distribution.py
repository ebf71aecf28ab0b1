"""How often each value of a feature occurred, by hour of the day: the reference of its mix."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring import stored_fields
from service.monitoring.buckets import HOURS_PER_DAY
from service.monitoring.feature_drift.clock import PERIODS, SECONDS_PER_HOUR, ahead, clock
from service.monitoring.feature_drift.dispersion import day_to_day_std


@dataclass(frozen=True, slots=True, eq=False)
class FeatureDistribution:
    """How often each value of one bounded feature occurred in each hour of the UTC day."""

    values: tuple[str, ...]
    counts: NDArray[np.int64]
    """Shape ``(24, len(values))``."""
    day_std: NDArray[np.float64] | None = None
    """Standard deviation of each value's share in an hour between days, beyond sampling noise;
    None where too few hours were seen on two days. Shape ``(len(values),)``."""
    days: int = 1
    """On how many days the hours were seen; one where nobody knows."""
    ahead: NDArray[np.int64] | None = None
    """Of a feature that follows the clock: how often it was so far ahead of it, shape as
    ``counts``; None of other features, and where nobody knows when the rows came."""

    @classmethod
    def of(
        cls,
        feature: str,
        values: tuple[str, ...],
        hours: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> Self:
        """Add up single hours.

        Args:
            feature: Its name.
            values: Of the feature.
            hours: Since the Unix epoch, ascending, shape ``(k,)``.
            counts: Rows per hour and value, shape ``(k, len(values))``.
        """
        leads = None
        if feature in PERIODS and set(values) == set(in_order(feature)):
            # As the clock counts them, whatever the order in which counters were read.
            values, counts = (
                in_order(feature),
                counts[:, [values.index(v) for v in in_order(feature)]],
            )
            starts = hours * SECONDS_PER_HOUR
            leads = _by_hour(
                hours,
                np.array(
                    [
                        ahead(row, clock(feature, start))
                        for row, start in zip(counts, starts.tolist(), strict=True)
                    ]
                ).reshape(counts.shape),
            )
        return cls(
            values=values,
            counts=_by_hour(hours, counts),
            day_std=day_to_day_std(hours, counts),
            days=_days(hours, counts),
            ahead=leads,
        )

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError: A field is not there.
            ValueError: A field is not what it has to be.
        """
        values = tuple(content["values"])
        if not all(isinstance(value, str) for value in values):
            raise ValueError("values: one is no text")
        shape = HOURS_PER_DAY, len(values)
        # Absent from baselines that were stored before drift of features was detected.
        content = {"day_std": None, "days": 1, "ahead": None, **content}
        known, dated = content["day_std"] is not None, content["ahead"] is not None
        return cls(
            values=values,
            counts=stored_fields.counts(content, "counts", shape),
            day_std=stored_fields.floats(content, "day_std", shape[1:]) if known else None,
            days=int(stored_fields.number(content, "days", least=1)),
            ahead=stored_fields.counts(content, "ahead", shape) if dated else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "values": list(self.values),
            "counts": self.counts.tolist(),
            "day_std": None if self.day_std is None else self.day_std.tolist(),
            "days": self.days,
            "ahead": None if self.ahead is None else self.ahead.tolist(),
        }


def in_order(feature: str) -> tuple[str, ...]:
    """Values of a feature that follows the clock."""
    return tuple(map(str, range(PERIODS[feature])))


def _days(hours: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    """Fewest days behind any hour of the day that was seen."""
    seen = np.bincount(hours[counts.any(axis=1)] % HOURS_PER_DAY, minlength=HOURS_PER_DAY)
    return int(seen[seen > 0].min(initial=len(hours) or 1))


def _by_hour(hours: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.zeros((HOURS_PER_DAY, counts.shape[1]), dtype=np.int64)
    np.add.at(total, hours % HOURS_PER_DAY, counts)
    return total
