"""A range in which a number lies, with the confidence that its maker states."""

from typing import NamedTuple


class Interval(NamedTuple):
    """Both ends belong to it."""

    low: float
    high: float
    """Infinite where the observations set no bound."""
