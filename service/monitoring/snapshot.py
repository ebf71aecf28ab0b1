"""All counters at one instant, summed over the workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Series(NamedTuple):
    """One time series, as Prometheus names it."""

    name: str
    """Sample name, such as ``ctr_prediction_ratio_bucket``."""
    labels: tuple[tuple[str, str], ...]
    """Sorted by label name. The buckets of histograms are cumulative, as exposed."""


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class Snapshot:
    """What the registry held at one instant."""

    at: float
    """When it was read, in Unix seconds."""
    epoch: float
    """When its counters began at zero, in Unix seconds; another epoch is a reset."""
    counters: Mapping[Series, float]
    """Everything that only grows within an epoch."""
    gauges: Mapping[Series, float]
    """Everything else: minimum, maximum, last value. Not part of the history."""
    instances: int = 1
    """Of how many instances this is the sum."""
