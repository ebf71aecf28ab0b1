"""The arms of an experiment: what each variant was given, and what came of it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.cells import CELLS
from service.monitoring.counts import ModelVersion

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a variant's model served, whoever asked for it."""

    requests: float = 0.0
    errors: float = 0.0
    duration_seconds: float = 0.0
    """Sum over the requests that were timed."""
    durations: float = 0.0
    """Number of those."""
    predictions: float = 0.0
    predicted_clicks: float = 0.0
    """Sum of the predictions: the clicks that the model expects."""
    clicks: float = 0.0
    """Clicks on those predictions, also on those that the experiment did not assign."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            duration_seconds=self.duration_seconds + other.duration_seconds,
            durations=self.durations + other.durations,
            predictions=self.predictions + other.predictions,
            predicted_clicks=self.predicted_clicks + other.predicted_clicks,
            clicks=self.clicks + other.clicks,
        )

    @property
    def error_ratio(self) -> float | None:
        """Errors per request; None without a request."""
        return self.errors / self.requests if self.requests else None

    @property
    def mean_seconds(self) -> float | None:
        """Mean latency; None without a request that was timed."""
        return self.duration_seconds / self.durations if self.durations else None

    @property
    def calibration_ratio(self) -> float | None:
        """Predicted clicks per click, above 1 if too many are predicted; None without a click."""
        return self.predicted_clicks / self.clicks if self.clicks else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmCounts:
    """Counts of one variant since the experiment began, up to where clicks are complete."""

    impressions: Floats
    """Predictions for users that the experiment assigned, by cell, shape ``(CELLS,)``."""
    clicks: Floats
    """Clicks on those, by cell, shape ``(CELLS,)``."""
    served: Served

    def __post_init__(self) -> None:
        for name, cells in (("impressions", self.impressions), ("clicks", self.clicks)):
            if cells.shape != (CELLS,):
                raise ValueError(f"{name}: give {CELLS} cells, not an array of {cells.shape}")
            if not np.all(np.isfinite(cells) & (cells >= 0)):
                raise ValueError(f"{name}: counts are finite and not negative")

    def __add__(self, other: Self) -> Self:
        return type(self)(
            impressions=self.impressions + other.impressions,
            clicks=self.clicks + other.clicks,
            served=self.served + other.served,
        )

    @classmethod
    def nothing(cls) -> Self:
        """Give the counts of a variant that nobody has seen yet."""
        return cls(impressions=np.zeros(CELLS), clicks=np.zeros(CELLS), served=Served())

    @property
    def ctr(self) -> float | None:
        """Clicks per impression; None without an impression."""
        shown = float(self.impressions.sum())
        return float(self.clicks.sum()) / shown if shown else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arm:
    """A variant with what it was given."""

    model: ModelVersion
    weight: float
    """Share of the users that it is meant to get, not necessarily out of 1; positive."""
    counts: ArmCounts

    @property
    def model_name(self) -> str:
        """Name of the variant."""
        return self.model.model
