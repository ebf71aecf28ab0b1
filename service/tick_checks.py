"""What is wrong with arrays of ticks, said so that it can be put right."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.monitoring.drift.ticks import Floats

QUANTITIES = ("prediction", "latency")
_LATEST = 4_102_444_800.0
"""The year 2100 in Unix seconds."""
_SECONDS_PER_DAY = 86_400.0
_MOST = 2.0**53
"""Beyond, not every whole number is a float."""
_SLACK = 0.1
"""Sums may be off by this share, as those of approximations are; another unit is off by more."""

Arrays = Mapping[str, Floats]


class _Rule(NamedTuple):
    """One thing that must hold for every number of an array."""

    broken: Callable[[Floats], NDArray[np.bool_]]
    complaint: str


_NUMBER = _Rule(lambda a: ~np.isfinite(a), "is no finite number")
_POSITIVE = _Rule(lambda a: a < 0, "is negative")
_COUNTABLE = _Rule(lambda a: a > _MOST, "is more than can be counted")
_WHOLE = _Rule(lambda a: a != np.rint(a), "is no whole number of observations")
_SECONDS = _Rule(
    lambda a: (a < 0) | (a > _LATEST), "is no time from 1970 to 2100: seconds are expected"
)
_RULES = {
    "time": (_NUMBER, _SECONDS),
    "count": (_NUMBER,),
    "bounds": (_NUMBER,),
    "buckets": (_NUMBER, _POSITIVE, _COUNTABLE, _WHOLE),
    "sum": (_NUMBER, _POSITIVE),
    "sum_squares": (_NUMBER, _POSITIVE),
}


def first_problem(arrays: Arrays) -> str | None:
    """Name the array, the row and what to do about it; None where all is well.

    Args:
        arrays: Every one that a file of ticks must have, and ``count`` if it has it.
    """
    return next(_problems(arrays), None)


def _problems(arrays: Arrays) -> Iterator[str]:
    yield from _shapes(arrays)
    for name, array in arrays.items():
        rules = _RULES[name.partition("_")[2] or name]
        yield from (p for rule in rules for p in _first(name, array, rule.broken(array), rule))
    yield from _order("time", arrays["time"], "sort the ticks and keep each once")
    for quantity in QUANTITIES:
        name = f"{quantity}_bounds"
        yield from _order(name, arrays[name], "list each upper bound once, ascending")
    spacing = float(np.median(np.diff(arrays["time"]))) if len(arrays["time"]) > 1 else 0.0
    if spacing > _SECONDS_PER_DAY:
        yield f"time: ticks are {spacing / _SECONDS_PER_DAY:.3g} days apart: seconds are expected"
    if "count" in arrays:
        yield from _counts(arrays["count"], arrays["prediction_buckets"])
    for quantity in QUANTITIES:
        yield from _sums(quantity, arrays)


def _shapes(arrays: Arrays) -> Iterator[str]:
    ticks = arrays["time"].shape
    if len(ticks) != 1:
        yield f"time has shape {ticks}: one number a tick is expected"
        return
    if ticks == (0,):
        yield "time is empty: there is no tick"
    expected: dict[str, tuple[int, ...]] = {"count": ticks}
    for quantity in QUANTITIES:
        bounds = arrays[f"{quantity}_bounds"].shape
        if len(bounds) != 1:
            yield f"{quantity}_bounds have shape {bounds}: a list of upper bounds is expected"
            return
        expected |= {f"{quantity}_sum": ticks, f"{quantity}_sum_squares": ticks}
        expected[f"{quantity}_buckets"] = (ticks[0], bounds[0] + 1)
    for name, shape in expected.items():
        if name in arrays and arrays[name].shape != shape:
            hint = (
                "ticks by buckets, the last for what is above all bounds"
                if name.endswith("buckets")
                else "one a tick"
            )
            yield f"{name} has shape {arrays[name].shape}, not {shape}: {hint}"


def _first(name: str, array: Floats, broken: NDArray[np.bool_], rule: _Rule) -> Iterator[str]:
    if broken.any():
        place = [int(i) for i in np.argwhere(broken)[0]]
        yield f"{name}{place} is {array[tuple(place)]:g}, which {rule.complaint}"


def _order(name: str, array: Floats, fix: str) -> Iterator[str]:
    for row in np.flatnonzero(np.diff(array) <= 0)[:1] + 1:
        yield (
            f"{name}[{row}] is {array[row]:.12g}, not above {array[row - 1]:.12g} before it, "
            f"so {name} is not ascending: {fix}"
        )


def _counts(count: Floats, buckets: Floats) -> Iterator[str]:
    seen = buckets.sum(axis=1)
    for row in np.flatnonzero(count != seen)[:1]:
        yield (
            f"count[{row}] is {count[row]:g}, but prediction_buckets[{row}] add up to "
            f"{seen[row]:g}{_if_cumulative(buckets)}"
        )


def _sums(quantity: str, arrays: Arrays) -> Iterator[str]:
    buckets = arrays[f"{quantity}_buckets"]
    bounds = arrays[f"{quantity}_bounds"].clip(min=0.0)
    total, squares = arrays[f"{quantity}_sum"], arrays[f"{quantity}_sum_squares"]
    count = buckets.sum(axis=1)
    bounded = buckets[:, -1] == 0
    low = (1 - _SLACK) * (buckets[:, 1:] @ bounds)
    for name, sums, edges, least in (
        (f"{quantity}_sum", total, bounds, low),
        (
            f"{quantity}_sum_squares",
            squares,
            bounds**2,
            (1 - _SLACK) * total**2 / np.maximum(count, 1),
        ),
    ):
        most = np.where(bounded, (1 + _SLACK) * (buckets[:, :-1] @ edges), np.inf)
        for row in np.flatnonzero((sums < least) | (sums > most))[:1]:
            yield (
                f"{name}[{row}] is {sums[row]:.6g}, which the {count[row]:g} observations in "
                f"{quantity}_buckets[{row}] cannot have: {least[row]:.6g} to {most[row]:.6g} is "
                f"possible{_if_cumulative(buckets) or '; are sums and bounds in one unit?'}"
            )


def _if_cumulative(buckets: Floats) -> str:
    rising = buckets.shape[1] > 1 and bool((np.diff(buckets, axis=1) >= 0).all())
    return "; the buckets look cumulative: give the observations in each" if rising else ""
