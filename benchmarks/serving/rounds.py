"""Interleaved rounds, ratios within a round, and what the same thing differs from itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

_Result = TypeVar("_Result")
_RESAMPLES = 4000
_COVERAGE = 0.95


def interleaved(
    runs: Mapping[str, Callable[[], _Result]], rounds: int
) -> Mapping[str, Sequence[_Result]]:
    """Do every run once a round, each in every place of a round in turn.

    Every other round goes backwards, so that nothing always follows the same.
    """
    results: dict[str, list[_Result]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        shift = number % len(names)
        order = names[shift:] + names[:shift]
        for name in order if number % 2 == 0 else reversed(order):
            results[name].append(runs[name]())
    return results


@dataclass(frozen=True)
class Spread:
    """A figure of every round, in short."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Sum up the figures of the rounds."""
        return cls(float(np.median(values)), min(values), max(values))

    @classmethod
    def of_ratios(cls, these: Sequence[float], those: Sequence[float]) -> Self:
        """Sum up ``these`` over ``those``, each taken within its round."""
        return cls.of([one / other for one, other in zip(these, those, strict=True)])


@dataclass(frozen=True)
class AgainstItself:
    """How far from 1 the median ratio of rounds comes to lie where there is no difference (A/A)."""

    lowest: float
    highest: float

    @classmethod
    def of_ratios(cls, these: Sequence[float], those: Sequence[float]) -> Self:
        """Find the middle 95 % for ``these`` and ``those``, which are the same thing.

        Which of the two is above the other is chance, so each ratio is as likely as its inverse:
        medians of ratios drawn anew, each turned over or not, are what chance alone does.
        """
        sizes = np.abs(np.log(np.array(these) / np.array(those)))
        rng = np.random.default_rng(0)
        drawn = rng.choice(sizes, (_RESAMPLES, len(sizes)))
        turned = rng.choice((-1.0, 1.0), drawn.shape)
        reach = float(np.quantile(np.abs(np.median(drawn * turned, axis=1)), _COVERAGE))
        return cls(float(np.exp(-reach)), float(np.exp(reach)))

    def holds(self, ratio: float) -> bool:
        """Tell whether ``ratio`` is no difference."""
        return self.lowest <= ratio <= self.highest


@dataclass(frozen=True)
class Comparison:
    """Something switched on against the same without, beside the same without against itself."""

    ratio: Spread
    itself: AgainstItself

    @classmethod
    def of(cls, on: Sequence[float], off: Sequence[float], again: Sequence[float]) -> Self:
        """Compare; ``off`` and ``again`` are the same thing, measured twice a round."""
        return cls(Spread.of_ratios(on, off), AgainstItself.of_ratios(again, off))
