"""What the detection of feature drift remembers between ticks: plain numbers."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from service.monitoring.feature_drift.bets import BLOCK_SECONDS
from service.monitoring.feature_drift.dispersion import Floats
from service.monitoring.feature_drift.live import Dispersion

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The alarm of a feature that has not cleared."""

    alarmed_at: float
    """Unix seconds."""
    since: float
    """When the change is estimated to have begun, in Unix seconds."""
    quiet: int
    """Ticks in a row with little evidence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Counts over five minutes."""

    number: int
    """Since the Unix epoch."""
    ticks: int
    counts: Floats
    """Rows per value, shape ``(v,)``."""

    @property
    def middle(self) -> float:
        """In Unix seconds."""
        return (self.number + 0.5) * BLOCK_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureState:
    """Of all features of one model, one after the other in ``v`` values."""

    key: str
    """The model version and baseline that it belongs to; under another one it is worthless."""
    time: float | None
    """End of the last tick in Unix seconds."""
    cells: Floats
    """Logarithm of each bet's Shiryaev-Roberts statistic, shape ``(m, v)``."""
    ages: Floats
    """Ticks since each was last at its beginning, shape ``(m, v)``."""
    dispersion: Dispersion
    pending: Block | None
    """The block that is not over."""
    blocks: tuple[Block, ...]
    """Those of the last hour that are, oldest first."""
    log_evidence: tuple[float, ...]
    """By feature, after the last tick."""
    standing: tuple[Standing | None, ...]

    def to_json(self) -> str:
        """Serialise without loss: floats round-trip exactly."""
        return json.dumps(
            {
                "format": _FORMAT,
                "key": self.key,
                "time": self.time,
                "cells": self.cells.tolist(),
                "ages": self.ages.astype(np.int64).tolist(),
                "weight": self.dispersion.weight,
                "excess": self.dispersion.excess.tolist(),
                "ratio": self.dispersion.ratio.tolist(),
                "pending": None if self.pending is None else _block_to_json(self.pending),
                "blocks": [_block_to_json(block) for block in self.blocks],
                "log_evidence": self.log_evidence,
                "standing": [None if one is None else asdict(one) for one in self.standing],
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
                raise ValueError(f"feature state format {content['format']} is not {_FORMAT}")
            pending = content["pending"]
            return cls(
                key=content["key"],
                time=content["time"],
                cells=np.array(content["cells"], dtype=np.float64),
                ages=np.array(content["ages"], dtype=np.float64),
                dispersion=Dispersion(
                    weight=content["weight"],
                    excess=np.array(content["excess"], dtype=np.float64),
                    ratio=np.array(content["ratio"], dtype=np.float64),
                ),
                pending=None if pending is None else _block_from_json(pending),
                blocks=tuple(_block_from_json(block) for block in content["blocks"]),
                log_evidence=tuple(content["log_evidence"]),
                standing=tuple(
                    None if one is None else Standing(**one) for one in content["standing"]
                ),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a feature state: {error!r}") from error


def _block_to_json(block: Block) -> list[Any]:
    return [block.number, block.ticks, block.counts.astype(np.int64).tolist()]


def _block_from_json(content: list[Any]) -> Block:
    number, ticks, counts = content
    return Block(number=number, ticks=ticks, counts=np.array(counts, dtype=np.float64))
