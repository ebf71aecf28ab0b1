"""What the doctor says of one thing."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is, the worst last."""

    SKIPPED = "skipped"
    """Cannot be found out before something else is put right, or does not apply."""
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    """Nothing new shows up until it is put right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    check: str
    level: Level
    found: str
    todo: str = ""
    """What to do; empty where there is nothing to do."""


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.OK, found)


def skipped(check: str, why: str) -> Finding:
    """Not looked at."""
    return Finding(check, Level.SKIPPED, why)


def warning(check: str, found: str, todo: str) -> Finding:
    """It works, but not as somebody may expect."""
    return Finding(check, Level.WARNING, found, todo)


def problem(check: str, found: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.PROBLEM, found, todo)
