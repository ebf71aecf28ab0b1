"""Simulated A/B tests: users of very unequal activity, assigned once, looked at many times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.monitoring.cells import CELLS
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.arms import Arm, ArmCounts, Served

_REFRACTORY = 20
"""Impressions after a click in which a tired user does not click again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How users behave, and what the variants do to them."""

    tail: float
    """Index of the Pareto law of activity: at 1.1 a few giants bring most of the traffic."""
    users: int = 20_000
    impressions: int = 60_000
    ctr: float = 0.02
    ctr_spread: float = 0.5
    """Standard deviation of the logarithm of a user's own CTR."""
    weights: Sequence[float] = (1.0, 1.0)
    lift: float = 0.0
    """Relative effect of the last arm on every user's CTR."""
    lost: float = 0.0
    """Share of the last arm's users of whom nothing is recorded."""
    arriving: bool = True
    """Whether users come one after another; else all are there from the beginning."""
    tired: bool = False
    """Whether a user who clicked does not for a while: the worst for a test over time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """One simulated experiment."""

    weights: Sequence[float]
    impressions: NDArray[np.float64]
    """Since the beginning, shape ``(looks, arms, CELLS)``."""
    clicks: NDArray[np.float64]
    """Of the same shape."""

    def __iter__(self) -> Iterator[list[Arm]]:
        """Give the arms at each look."""
        for shown, clicked in zip(self.impressions, self.clicks, strict=True):
            yield arms_of(self.weights, shown, clicked)


def arms_of(
    weights: Sequence[float], shown: NDArray[np.float64], clicked: NDArray[np.float64]
) -> list[Arm]:
    """Name the arms a, b, c; counts have shape ``(arms, CELLS)``."""
    return [
        Arm(
            model=ModelVersion("abcdefgh"[index], "1"),
            weight=weight,
            counts=ArmCounts(impressions=shown[index], clicks=clicked[index], served=Served()),
        )
        for index, weight in enumerate(weights)
    ]


def course(rng: np.random.Generator, world: World, looks: int) -> Course:
    """Run an experiment and look at it at equal distances of time."""
    arms = len(world.weights)
    ends = np.cumsum(world.weights) / sum(world.weights)
    arm = np.searchsorted(ends, rng.random(world.users), side="right").clip(max=arms - 1)
    cell = rng.integers(0, CELLS, world.users)
    activity = (1 - rng.random(world.users)) ** (-1 / world.tail)
    spread = world.ctr_spread
    own = world.ctr * np.exp(spread * rng.standard_normal(world.users) - spread**2 / 2)
    own *= np.where(arm == arms - 1, 1 + world.lift, 1)

    sums = np.cumsum(activity)
    user = np.searchsorted(sums, rng.random(world.impressions) * sums[-1], side="right")
    first = rng.random(world.users) * world.arriving
    time = first[user] + (1 - first[user]) * rng.random(world.impressions)
    clicked = rng.random(world.impressions) < own[user]
    if world.tired:
        clicked = _tired(user, time, clicked)
    there = (arm != arms - 1) | (rng.random(world.users) >= world.lost)
    kept = there[user]
    place = ((time * looks).astype(np.int64) * arms + arm[user]) * CELLS + cell[user]

    def by_look(events: NDArray[np.bool_]) -> NDArray[np.float64]:
        counts = np.bincount(place[events], minlength=looks * arms * CELLS)
        return counts.reshape(looks, arms, CELLS).cumsum(axis=0).astype(np.float64)

    return Course(weights=world.weights, impressions=by_look(kept), clicks=by_look(kept & clicked))


def _tired(
    user: NDArray[np.int64], time: NDArray[np.float64], clicked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    order = np.lexsort((time, user))
    in_order = clicked[order]
    place = np.arange(len(order))
    last = np.maximum.accumulate(np.where(in_order, place, -_REFRACTORY))
    before = np.concatenate([[-_REFRACTORY], last[:-1]])
    same = user[order][np.maximum(before, 0)] == user[order]
    rested = ~same | (place - before >= _REFRACTORY)
    kept = np.empty_like(clicked)
    kept[order] = in_order & rested
    return kept
