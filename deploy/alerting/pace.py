"""How fast the alerts react: as in production, or in seconds for a rehearsal."""

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.alerting.rules import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnWindow:
    """Two windows in which the error budget must burn too fast.

    The long one says that it matters, the short one that it still goes on.
    """

    long_seconds: int
    short_seconds: int
    factor: float
    """How many times faster than the budget allows."""
    hold_seconds: int
    severity: Severity


_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Windows and intervals of all rules."""

    burn_windows: Sequence[BurnWindow]
    scrape_seconds: int
    evaluation_seconds: int
    slow_evaluation_seconds: int
    """For rules over hours and days."""
    hold_divisor: int = 1

    def hold(self, seconds: int) -> int:
        """For how long a condition must hold that holds so long in production."""
        return max(1, seconds // self.hold_divisor)


PRODUCTION = Pace(
    # Site Reliability Workbook, chapter 5: 2 %, 5 %, 10 % and 10 % of a month's budget.
    burn_windows=(
        BurnWindow(
            long_seconds=_HOUR,
            short_seconds=5 * _MINUTE,
            factor=14.4,
            hold_seconds=2 * _MINUTE,
            severity=Severity.PAGE,
        ),
        BurnWindow(
            long_seconds=6 * _HOUR,
            short_seconds=30 * _MINUTE,
            factor=6,
            hold_seconds=15 * _MINUTE,
            severity=Severity.PAGE,
        ),
        BurnWindow(
            long_seconds=_DAY,
            short_seconds=2 * _HOUR,
            factor=3,
            hold_seconds=_HOUR,
            severity=Severity.TICKET,
        ),
        BurnWindow(
            long_seconds=3 * _DAY,
            short_seconds=6 * _HOUR,
            factor=1,
            hold_seconds=3 * _HOUR,
            severity=Severity.TICKET,
        ),
    ),
    scrape_seconds=5,
    evaluation_seconds=15,
    slow_evaluation_seconds=60,
)

REHEARSAL = Pace(
    burn_windows=tuple(
        BurnWindow(
            long_seconds=long,
            short_seconds=short,
            factor=window.factor,
            hold_seconds=1,
            severity=window.severity,
        )
        for window, (long, short) in zip(
            PRODUCTION.burn_windows, ((20, 5), (40, 10), (60, 20), (120, 40)), strict=True
        )
    ),
    scrape_seconds=1,
    evaluation_seconds=1,
    slow_evaluation_seconds=1,
    hold_divisor=60,
)
"""For tests and rehearsals of the whole way from an error to a message."""
