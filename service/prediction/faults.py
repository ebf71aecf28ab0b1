"""Faults on purpose: make a share of one model's requests fail or slow down, to rehearse."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self


class InvalidFaultsError(ValueError):
    """The text does not describe faults; the message names the part and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one model."""

    error: float = 0.0
    """Share of requests that fail, 0 to 1."""
    latency_ms: float = 0.0
    """Milliseconds that each request takes longer."""
    after_s: float = 0.0
    """Seconds after the start at which it begins."""
    for_s: float = math.inf
    """Seconds that it lasts."""

    def active(self, seconds_since_start: float) -> bool:
        """Tell whether it has begun and not yet ended."""
        return self.after_s <= seconds_since_start < self.after_s + self.for_s


_FIELDS = tuple(field.name for field in fields(Fault))


def parse_faults(text: str) -> Mapping[str, Fault]:
    """Read faults by model, such as ``xgboost:error=0.2,latency_ms=300;logistic:error=1``.

    Raises:
        InvalidFaultsError: A part is malformed.
    """
    faults: dict[str, Fault] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        model, colon, assignments = part.partition(":")
        if not (model and colon and assignments):
            raise InvalidFaultsError(f"{part!r} is not like xgboost:error=0.2,latency_ms=300")
        values: dict[str, float] = {}
        for assignment in assignments.split(","):
            name, _, number = (piece.strip() for piece in assignment.partition("="))
            if name not in _FIELDS:
                raise InvalidFaultsError(f"{name!r} is not a fault; use {', '.join(_FIELDS)}")
            values[name] = _number(assignment, number)
        if values.get("error", 0.0) > 1:
            raise InvalidFaultsError(f"{part!r}: error is a share from 0 to 1")
        faults[model] = Fault(**values)
    return faults


class FaultInjector:
    """Decides for each request what goes wrong with it.

    Errors are spread evenly instead of drawn: of any hundred requests at ``error=0.2`` twenty
    fail, so that a rehearsal ends on the right side of its threshold.
    """

    def __init__(self, faults: Mapping[str, Fault], *, started: float) -> None:
        self._faults = faults
        self._started = started
        self._due = dict.fromkeys(faults, 0.0)

    @classmethod
    def none(cls) -> Self:
        """Nothing goes wrong."""
        return cls({}, started=0.0)

    def __bool__(self) -> bool:
        """Tell whether anything may go wrong at all."""
        return bool(self._faults)

    def delay_seconds(self, models: set[str], now: float) -> float:
        """How much longer a request to ``models`` takes."""
        if not self._faults:
            return 0.0
        return max((self._active(model, now).latency_ms for model in models), default=0.0) / 1000

    def fails(self, model: str, now: float) -> bool:
        """Tell whether the next request to ``model`` fails."""
        if model not in self._faults:
            return False
        self._due[model] += self._active(model, now).error
        # Twenty times 0.05 must be one whole error, whatever the rounding.
        if self._due[model] < 1 - 1e-9:
            return False
        self._due[model] -= 1
        return True

    def _active(self, model: str, now: float) -> Fault:
        fault = self._faults.get(model)
        return fault if fault and fault.active(now - self._started) else Fault()


def _number(assignment: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InvalidFaultsError(f"{assignment!r}: give a number of 0 or more")
    return value
