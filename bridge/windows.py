"""The slots of the history: windows of one length, aligned to the epoch, in UTC days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One window of the history; its number is the step in MLflow."""

    number: int
    """Windows since the epoch, equal for all models and days."""
    seconds: int
    """Length; divides a day."""

    @property
    def start(self) -> int:
        """Unix seconds."""
        return self.number * self.seconds

    @property
    def end(self) -> int:
        """Unix seconds; the timestamp of the window's points."""
        return self.start + self.seconds

    @property
    def day(self) -> str:
        """UTC day, such as ``2026-11-23``."""
        return datetime.fromtimestamp(self.start, tz=UTC).date().isoformat()

    @property
    def day_start(self) -> int:
        """UTC midnight before the window, in Unix seconds."""
        return self.start - self.start % SECONDS_PER_DAY

    @property
    def ends_day(self) -> bool:
        """Whether the next window belongs to another day."""
        return self.end % SECONDS_PER_DAY == 0

    @property
    def place_in_day(self) -> int:
        """Number within its day, from 0."""
        return (self.start - self.day_start) // self.seconds


def slot_at(at: float, seconds: int) -> Slot:
    """Give the window that contains a time, in Unix seconds."""
    return Slot(number=int(at // seconds), seconds=seconds)


def slots_between(start: float, end: float, seconds: int) -> Sequence[Slot]:
    """List the windows that lie wholly within a span, oldest first."""
    first = -int(-start // seconds)
    last = int(end // seconds)
    return [Slot(number=number, seconds=seconds) for number in range(first, last)]


def slots_of_day(day_start: int, seconds: int) -> Sequence[Slot]:
    """List the windows of the UTC day that begins at ``day_start``, in Unix seconds."""
    return slots_between(day_start, day_start + SECONDS_PER_DAY, seconds)
