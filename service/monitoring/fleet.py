"""Many instances as one: their counters added up, each instance's resets told apart.

A fleet's snapshot continues the one before: to its totals is added what every instance counted
since. So a restart of one instance is no reset of the fleet, an instance that dies leaves what it
had counted, and windows are differences of two snapshots as they are for one instance.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from service.monitoring.catalogue import CATALOGUE, Merge
from service.monitoring.snapshot import Series, Snapshot

_MERGES = {metric.name: metric.merge for metric in CATALOGUE if metric.merge is not None}
_FORGOTTEN_AFTER_SECONDS = 86_400.0
_FOUND_WITHIN_SECONDS = 60.0
"""A new instance is scraped for the first time so long after it began."""


class Reading(NamedTuple):
    """What one instance showed at one scrape."""

    at: float
    """When, in Unix seconds."""
    epoch: float
    """When its counters began at zero, in Unix seconds."""
    counters: Mapping[Series, float]
    gauges: Mapping[Series, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetState:
    """What is known of a fleet up to some time."""

    at: float
    """Unix seconds."""
    epoch: float
    """When the totals began; the fleet has one epoch for ever."""
    totals: Mapping[Series, float]
    last: Mapping[str, Reading]
    """The newest reading of each instance."""

    def to_json(self) -> str:
        """Serialise without loss."""
        names = sorted({*self.totals, *(s for r in self.last.values() for s in r.counters)})
        place = {series: number for number, series in enumerate(names)}
        return json.dumps(
            {
                "at": self.at,
                "epoch": self.epoch,
                "series": names,
                "totals": [(place[series], value) for series, value in self.totals.items()],
                "last": {
                    instance: {
                        "at": reading.at,
                        "epoch": reading.epoch,
                        "counters": [(place[s], value) for s, value in reading.counters.items()],
                        "gauges": list(reading.gauges.items()),
                    }
                    for instance, reading in self.last.items()
                },
            },
            allow_nan=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not the state of a fleet.
        """
        try:
            content = json.loads(text)
            names = [_series(found) for found in content["series"]]
            return cls(
                at=content["at"],
                epoch=content["epoch"],
                totals={names[place]: value for place, value in content["totals"]},
                last={
                    instance: Reading(
                        found["at"],
                        found["epoch"],
                        {names[place]: value for place, value in found["counters"]},
                        {_series(series): value for series, value in found["gauges"]},
                    )
                    for instance, found in content["last"].items()
                },
            )
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError(f"not the state of a fleet: {error!r}") from error


def advance(
    state: FleetState | None, readings: Mapping[str, Sequence[Reading]], until: float
) -> FleetState:
    """Add what the instances counted.

    Args:
        state: Up to now; None at the very beginning.
        readings: New ones of each instance, in order of time; those that are known already, or
            later than ``until``, change nothing.
        until: What the new state is up to, in Unix seconds.
    """
    looked_since = -math.inf if state is None else state.at
    totals = dict(state.totals) if state is not None else {}
    last = dict(state.last) if state is not None else {}
    for instance, scrapes in readings.items():
        for reading in scrapes:
            before = last.get(instance)
            if reading.at > until or (before is not None and reading.at <= before.at):
                continue
            counts = _counts_since(before, reading)
            # An instance that ran long before anybody looked brings its past along, not growth;
            # only the very first state begins with what all of them had counted.
            newcomer = before is None and reading.epoch <= looked_since - _FOUND_WITHIN_SECONDS
            if not newcomer:
                for series, growth in counts:
                    totals[series] = totals.get(series, 0.0) + growth
            last[instance] = reading
    return FleetState(
        at=until,
        epoch=state.epoch if state is not None else _first_epoch(last, until),
        totals=totals,
        last={
            instance: reading
            for instance, reading in last.items()
            if reading.at > until - _FORGOTTEN_AFTER_SECONDS
        },
    )


def snapshot_of(state: FleetState, *, alive_since: float) -> Snapshot:
    """Give the fleet's counters, and the gauges of the instances that are alive.

    Args:
        state: The fleet.
        alive_since: An instance that was read since then, in Unix seconds, is alive.
    """
    alive = [reading for reading in state.last.values() if reading.at >= alive_since]
    return Snapshot(
        at=state.at,
        epoch=state.epoch,
        counters=state.totals,
        instances=len(alive),
        gauges=_merged_gauges(sorted(alive, key=lambda reading: reading.at)),
    )


def _series(content: Sequence[Any]) -> Series:
    name, labels = content
    return Series(name, tuple((label, value) for label, value in labels))


def _counts_since(before: Reading | None, after: Reading) -> Iterable[tuple[Series, float]]:
    if before is None or before.epoch != after.epoch:
        return after.counters.items()
    return (
        (series, max(value - before.counters.get(series, 0.0), 0.0))
        for series, value in after.counters.items()
    )


def _first_epoch(last: Mapping[str, Reading], until: float) -> float:
    return min((reading.epoch for reading in last.values()), default=until)


def _merged_gauges(readings: Sequence[Reading]) -> Mapping[Series, float]:
    merged: dict[Series, float] = {}
    for reading in readings:
        for series, value in reading.gauges.items():
            merge = _MERGES.get(series.name)
            if merge is None:
                continue
            if series not in merged or merge is Merge.LATEST:
                merged[series] = value
            elif merge is Merge.LIVE_SUM:
                merged[series] += value
            elif merge is Merge.MIN:
                merged[series] = min(merged[series], value)
            else:
                merged[series] = max(merged[series], value)
    return merged
