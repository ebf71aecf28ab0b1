"""What the test of calibration remembers: plain numbers that survive a restart exactly."""

import json
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from service.monitoring.calibration.ticks import Floats
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.state import Active

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationState:
    """Of one model version."""

    key: str
    """The model version and the zone that it belongs to; under another one it is worthless."""
    end: float | None
    """Of the last cohort, in Unix seconds."""
    clicks: float
    """How many were seen, over all cohorts."""
    cells: Floats
    """Shiryaev-Roberts statistic of each cell, shape ``(m,)``."""
    clumping: tuple[tuple[float, ...], ...]
    """See :class:`Clumping`."""
    recent: tuple[tuple[tuple[float, ...], ...], ...]
    """Sums over recent cohorts, see :class:`RecentSums`."""
    log_evidence: float
    """After the last cohort."""
    active: Active | None

    def to_json(self) -> str:
        """Serialise without loss; floats round-trip exactly."""
        content = asdict(self) | {"format": _FORMAT, "cells": self.cells.tolist()}
        return json.dumps(content, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a state of this format.
        """
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT:
                raise ValueError(f"calibration state format {content['format']} is not {_FORMAT}")
            active = content["active"]
            return cls(
                key=content["key"],
                end=content["end"],
                clicks=content["clicks"],
                cells=np.array(content["cells"], dtype=np.float64),
                clumping=tuple(tuple(row) for row in content["clumping"]),
                recent=tuple(tuple(tuple(run) for run in level) for level in content["recent"]),
                log_evidence=content["log_evidence"],
                active=None
                if active is None
                else Active(**active | {"kind": DriftKind(active["kind"])}),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a calibration state: {error!r}") from error
