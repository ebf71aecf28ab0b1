"""How much more than by chance clicks vary from minute to minute: they come in clumps.

One user sees many ads within minutes and clicks on most of them or on none. A clump of clicks is
worth one click, not many; what is looked for here is how large clumps are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

_BLOCK_MINUTES = (1, 4, 16, 64)
_SECONDS_PER_MINUTE = 60.0
_MEMORY_MINUTES = 7 * 24 * 60.0
_START = 1.5
"""Assumed before anything was seen."""
_DOUBT_PAIRS = 30.0
"""What is known of shorter blocks, or assumed, counts as so many pairs of blocks."""

Sums = Sequence[float]
"""Predictions, the clicks that they promise, clicks."""
_NOTHING = (0.0, 0.0, 0.0)


@dataclass(slots=True, kw_only=True)
class _Blocks:
    """Adjacent stretches of one length."""

    minutes: int
    index: int = -1
    """Of the block that is filled now."""
    filling: Sums = _NOTHING
    before: Sums = _NOTHING
    """The block before; nothing after a gap."""
    found: float = 0.0
    """Variation between neighbours, fading; in clicks."""
    expected: float = 0.0
    """The same by chance."""
    pairs: float = 0.0

    def add(self, time: float, seen: Sums) -> bool:
        """Take in a tick; true where that closed a block."""
        index = int(time // (self.minutes * _SECONDS_PER_MINUTE))
        if index == self.index:
            n, p, k = self.filling
            self.filling = (n + seen[0], p + seen[1], k + seen[2])
            return False
        if self.before[1] and self.filling[1]:
            self._compare(self.before, self.filling)
        self.before = self.filling if index == self.index + 1 else _NOTHING
        self.filling, self.index = seen, index
        return True

    def _compare(self, one: Sums, other: Sums) -> None:
        """Hold neighbours against each other: whatever ratio they share drops out.

        With clicks ``K`` on predictions of sum ``P``, ``(K1 P2 - K2 P1)^2 / (P1 P2)`` has mean
        ``r (P1 + P2)``, as ``K1 + K2`` does, where clicks are Poisson at any common ratio ``r``.
        """
        n, clicks = one[0] + other[0], one[2] + other[2]
        kept = 1 - self.minutes / _MEMORY_MINUTES
        difference = one[2] * other[1] - other[2] * one[1]
        # Divided twice: the product of what is tiny would be zero.
        self.found = kept * self.found + (difference / one[1]) * (difference / other[1])
        self.expected = kept * self.expected + clicks * (1 - clicks / n)
        self.pairs = kept * self.pairs + 1


@dataclass(slots=True)
class Clumping:
    """How many clicks a clump has, learnt from the ticks before.

    Blocks of a minute up to an hour are compared with their neighbours. Only what varies quickly
    shows: a miscalibration is shared by neighbours, and a slow wander of the ratio nearly so; that
    one is what the zone is for. A working copy of the fold; its content is plain numbers.
    """

    blocks: list[_Blocks] = field(
        default_factory=lambda: [_Blocks(minutes=minutes) for minutes in _BLOCK_MINUTES]
    )
    size: float = _START
    """Clicks per clump, at least 1."""

    def add(self, time: float, seen: Sums) -> None:
        """Take in the cohort that began at ``time``, in Unix seconds."""
        closed = [blocks.add(time, seen) for blocks in self.blocks]
        if any(closed):
            self.size = self._estimate()

    def _estimate(self) -> float:
        size, greatest = _START, 1.0
        for blocks in self.blocks:
            if blocks.expected > 0:
                share = blocks.pairs / (blocks.pairs + _DOUBT_PAIRS)
                size += share * (blocks.found / blocks.expected - size)
            greatest = max(greatest, size)
        return greatest

    def numbers(self) -> tuple[tuple[float, ...], ...]:
        """Give the content, a row for each length of block."""
        return tuple(
            (b.index, *b.filling, *b.before, b.found, b.expected, b.pairs) for b in self.blocks
        )

    @classmethod
    def of(cls, numbers: Sequence[Sequence[float]]) -> "Clumping":
        """Continue from what :meth:`numbers` gave; from the start where there is nothing."""
        if not numbers:
            return cls()
        clumping = cls(
            [
                _Blocks(
                    minutes=minutes,
                    index=int(row[0]),
                    filling=(row[1], row[2], row[3]),
                    before=(row[4], row[5], row[6]),
                    found=row[7],
                    expected=row[8],
                    pairs=row[9],
                )
                for minutes, row in zip(_BLOCK_MINUTES, numbers, strict=True)
            ]
        )
        clumping.size = clumping._estimate()
        return clumping
