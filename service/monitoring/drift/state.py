"""What a detector remembers between ticks: plain numbers that survive a restart exactly."""

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.ticks import Floats

_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """An alarm that has not cleared."""

    kind: DriftKind
    alarmed_at: float
    """Unix seconds."""
    since: float
    """When the change is estimated to have begun, in Unix seconds."""
    ticks: int
    """Since the alarm."""
    quiet: int
    """Ticks in a row with little evidence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantityState:
    """Of one quantity."""

    level: Floats
    """Filtered wander per channel, shape ``(c,)``."""
    doubt: Floats
    """Its variance, shape ``(c,)``."""
    taken: Floats
    """Share of a standing shift that the filter takes for wander, shape ``(c,)``."""
    cells: Floats
    """Shiryaev-Roberts statistic of each cell, shape ``(m,)``."""
    recent: tuple[tuple[tuple[float, ...], ...], ...]
    """Sums over recent ticks, see :class:`RecentSums`."""
    ripple: Floats
    """Running sums of the bucket channel, flat; empty without one."""
    window: Floats
    """Sums per minute of the last hour, see :func:`roll`; the first column is the minute."""
    window_kinds: tuple[tuple[DriftKind, int], ...] = ()
    """What the window test says, with the number of ticks since it last said so."""
    log_evidence: float = 0.0
    """After the last tick."""
    active: Active | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriftState:
    """Of one model."""

    key: str
    """The model version and baseline that it belongs to; under another one it is worthless."""
    time: float | None
    """End of the last tick in Unix seconds."""
    quantities: tuple[QuantityState, ...]

    def to_json(self) -> str:
        """Serialise without loss; floats round-trip exactly."""
        return json.dumps(
            {
                "format": _FORMAT,
                "key": self.key,
                "time": self.time,
                "quantities": [_to_json(quantity) for quantity in self.quantities],
            },
            allow_nan=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a state of this format.
        """
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT:
                raise ValueError(f"drift state format {content['format']} is not {_FORMAT}")
            return cls(
                key=content["key"],
                time=content["time"],
                quantities=tuple(_from_json(quantity) for quantity in content["quantities"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a drift state: {error!r}") from error


def _to_json(state: QuantityState) -> dict[str, Any]:
    active = state.active
    return {
        "level": state.level.tolist(),
        "doubt": state.doubt.tolist(),
        "taken": state.taken.tolist(),
        "cells": state.cells.tolist(),
        "recent": state.recent,
        "ripple": state.ripple.tolist(),
        "window": state.window.tolist(),
        "window_kinds": state.window_kinds,
        "log_evidence": state.log_evidence,
        "active": None
        if active is None
        else {
            "kind": active.kind,
            "alarmed_at": active.alarmed_at,
            "since": active.since,
            "ticks": active.ticks,
            "quiet": active.quiet,
        },
    }


def _from_json(content: dict[str, Any]) -> QuantityState:
    active = content["active"]
    return QuantityState(
        level=np.array(content["level"], dtype=np.float64),
        doubt=np.array(content["doubt"], dtype=np.float64),
        taken=np.array(content["taken"], dtype=np.float64),
        cells=np.array(content["cells"], dtype=np.float64),
        recent=tuple(tuple(tuple(run) for run in level) for level in content["recent"]),
        ripple=np.array(content["ripple"], dtype=np.float64),
        window=np.array(content["window"], dtype=np.float64),
        window_kinds=tuple((DriftKind(kind), quiet) for kind, quiet in content["window_kinds"]),
        log_evidence=content["log_evidence"],
        active=None if active is None else Active(**active | {"kind": DriftKind(active["kind"])}),
    )
