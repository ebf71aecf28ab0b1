"""What was measured, as rows with a goal and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from benchmarks.serving.rounds import AgainstItself, Comparison, Spread

Bound = float | Literal["A/A"] | None
"""A number to meet, no difference beyond that of the same thing against itself, or nothing."""
SAME: Literal["A/A"] = "A/A"


class Verdict(StrEnum):
    """How a figure stands to its goal."""

    REACHED = "reached"
    MET = "met"
    MISSED = "missed"
    WITHIN = "within A/A"
    BEYOND = "beyond A/A"
    BETTER = "beyond A/A, for the better"
    UNCLEAR = "A/A too wide to tell"
    REPORTED = "reported"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Goal:
    """What a figure must meet, and what it reaches for."""

    must: Bound = None
    reach: Bound = None
    more_is_better: bool = True

    def is_met(self, bound: float, value: float) -> bool:
        """Tell whether ``value`` is on the good side of ``bound``."""
        return value >= bound if self.more_is_better else value <= bound


@dataclass(frozen=True)
class Row:
    """One figure."""

    what: str
    value: Spread | None
    """None where it was not measured."""
    goal: Goal = field(default_factory=Goal)
    unit: str = ""
    against_itself: AgainstItself | None = None

    @classmethod
    def of(cls, what: str, comparison: Comparison, goal: Goal) -> "Row":
        """Make the row of something on against off."""
        return cls(what, comparison.ratio, goal, against_itself=comparison.itself)

    @property
    def verdict(self) -> Verdict:
        """How it stands to its goal."""
        if self.value is None:
            return Verdict.NOT_MEASURED
        if SAME in {self.goal.must, self.goal.reach} and self.against_itself is not None:
            return self._against_itself(self.value.median, self.against_itself)
        return self._against_numbers(self.value.median)

    def _against_itself(self, value: float, itself: AgainstItself) -> Verdict:
        if itself.holds(value):
            must = self.goal.must
            unclear = isinstance(must, float) and not self.goal.is_met(must, value)
            return Verdict.UNCLEAR if unclear else Verdict.WITHIN
        if self.goal.is_met(1.0, value):
            return Verdict.BETTER
        return Verdict.BEYOND if self.goal.must == SAME else self._against_numbers(value)

    def _against_numbers(self, value: float) -> Verdict:
        must, reach = self.goal.must, self.goal.reach
        if isinstance(reach, float) and self.goal.is_met(reach, value):
            return Verdict.REACHED
        if isinstance(must, float):
            return Verdict.MET if self.goal.is_met(must, value) else Verdict.MISSED
        return Verdict.REPORTED


@dataclass(frozen=True)
class Table:
    """Figures beside the goals, for who wants to look closer."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Part:
    """One part of the benchmark."""

    title: str
    rows: Sequence[Row]
    tables: Sequence[Table] = ()
    remarks: Sequence[str] = ()
