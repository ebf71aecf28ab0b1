"""The trick that makes single predictions fast: a forest as one table of leaf masks.

XGBoost is built for many rows: a call costs 150 microseconds before it looks at the first tree.
Here a row costs 7, in nine numpy calls, and nothing is compiled. It is QuickScorer (Lucchese et
al., SIGIR 2015) turned inside out:

- Of each tree a **mask** has one bit per leaf: may the row still end there? A split that finds its
  value below the threshold rules out the leaves on its right, otherwise those on its left. The
  leaf that no split rules out, whether the row passes that split or not, is the one it ends at.
- What the splits on *one* feature rule out depends on that feature alone, and changes only at
  their thresholds. So for **every interval between two thresholds** of a feature the masks of all
  trees are computed beforehand: one line of the table.
- A row then is: find the interval of each feature (one binary search for all), take their lines,
  AND them. One bit is left for each tree; its number finds the leaf's output.

Order of the search: a **key** is the number of the feature, then the 32 bits of the value, as they
are. As integers these bits run from 0 up to infinity, then what is not a number, then the same
for negative values, from -0 down. That is not the order of the numbers, and need not be: intervals
that have keys next to each other are all that a search needs. A missing value is one more interval.

The sum is XGBoost's, bit for bit: in float32, from the base margin, tree after tree; and so is the
sigmoid, whose exponential is the C library's.
"""

import ctypes
import threading
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.prediction.tree_nodes import Integers, TreeNodes, UnusableForestError

MAX_LEAVES = 64
"""Of one tree: the bits of the widest integer."""
MAX_TABLE_BYTES = 64_000_000

# The lines of so many rows stay in the processor's cache until they are combined.
_ROWS_AT_ONCE = 16

# XGBoost's own bound: the exponential of more is infinite in float32.
_GREATEST_EXPONENT = 88.7

# Bits of a float32.
_NEGATIVE_ZERO, _ABOVE_INFINITY, _BELOW_INFINITY = 0x80000000, 0x7F800001, 0xFF800001

# Not numpy's exponential, which differs in the last bit; PyDLL, as no call is worth giving up the
# interpreter lock for.
_expf = ctypes.PyDLL(None).expf
_expf.argtypes, _expf.restype = (ctypes.c_float,), ctypes.c_float
_float32 = ctypes.c_float

Masks = NDArray[np.unsignedinteger[Any]]


class _RowOfKeys(threading.local):
    """The keys of one row, of which only the lower halves, the values, change; one per thread."""

    def __init__(self, feature_bits: Integers) -> None:
        self.keys = feature_bits.copy()
        self.values = _values(self.keys)[np.newaxis]


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Scores a few rows much faster than XGBoost, to the same bits."""

    last_keys: Integers
    """Greatest key of each interval except the last, ascending, shape ``(intervals - 1,)``."""
    table: Masks
    """Leaves that an interval leaves possible, shape ``(intervals, trees)``."""
    first_outputs: Integers
    """Place of each tree's first leaf in ``outputs``, shape ``(trees,)``."""
    outputs: NDArray[np.float32]
    """Log-odds that each leaf adds; of the first tree, the base margin, the negative."""
    features: int
    """Columns of a row."""
    _feature_bits: Integers = field(init=False)
    _row: _RowOfKeys = field(init=False)
    _one: np.unsignedinteger[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_feature_bits", np.arange(self.features, dtype="<i8") << 32)
        object.__setattr__(self, "_row", _RowOfKeys(self._feature_bits))
        object.__setattr__(self, "_one", self.table.dtype.type(1))

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return click probabilities, shape ``(n,)``, equal to ``Booster.predict`` in every bit.

        Args:
            features: Shape ``(n, d)``; not a number is missing.

        Raises:
            ValueError: The rows have not as many columns as the booster was trained on.
        """
        if features.shape[1] != self.features:
            raise ValueError(f"rows have {features.shape[1]} features, not {self.features}")
        if len(features) == 1:
            row = self._row
            row.values[...] = features
            return np.array((_probability(self._negative_margins(row.keys, 0).item()),))
        scores = np.empty(len(features))
        for start in range(0, len(features), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            keys = np.tile(self._feature_bits, (len(features[some]), 1))
            _values(keys)[:] = features[some]
            scores[some] = [_probability(m) for m in self._negative_margins(keys, 1).tolist()]
        return scores

    def _negative_margins(self, keys: Integers, axis: int) -> NDArray[np.float32]:
        """Sum up rows of keys, shape ``(..., d)``, of which ``axis`` is the last."""
        intervals = self.last_keys.searchsorted(keys)
        leaf = np.bitwise_and.reduce(self.table.take(intervals, 0), axis)
        leaf -= self._one  # of a single bit: all bits below it
        outputs = self.outputs.take(np.bitwise_count(leaf) + self.first_outputs)
        # One after the other, as XGBoost does; numpy would add in pairs.
        total: NDArray[np.float32] = np.subtract.reduce(outputs, axis)
        return total

    @classmethod
    def of(cls, nodes: TreeNodes) -> Self:
        """Compute the table.

        Raises:
            UnusableForestError: A tree has too many leaves, or the table would be too large.
        """
        leaves = nodes.leaves[nodes.roots]
        if leaves.max() > MAX_LEAVES:
            raise UnusableForestError(f"a tree has {leaves.max()} leaves, more than {MAX_LEAVES}")
        dtype = next(np.dtype(f"u{size}") for size in (1, 2, 4, 8) if leaves.max() <= 8 * size)
        columns = [_Column.of(nodes, feature) for feature in range(nodes.features)]
        intervals = sum(len(column.first_keys) for column in columns)
        if (size := intervals * len(leaves) * dtype.itemsize) > MAX_TABLE_BYTES:
            raise UnusableForestError(
                f"its table has {size / 1e6:.0f} MB, more than {MAX_TABLE_BYTES / 1e6:.0f}"
            )
        table = np.empty((intervals, len(leaves)), dtype)
        possible = _masks(nodes, nodes.roots, dtype)
        end = 0
        for column in columns:
            start, end = end, end + len(column.first_keys)
            column.fill(table[start:end], nodes, possible)
        first_keys = np.concatenate([column.first_keys for column in columns])
        first_outputs = np.cumsum(leaves) - leaves
        outputs = np.empty(leaves.sum(), np.float32)
        (ends,) = np.nonzero((nodes.left < 0) & (nodes.first_leaf >= 0))
        outputs[first_outputs[nodes.tree[ends]] + nodes.first_leaf[ends]] = nodes.value[ends]
        outputs[0] *= -1
        return cls(first_keys[1:] - 1, table, first_outputs, outputs, nodes.features)


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """The intervals of one feature."""

    splits: Integers
    """Nodes that look at it."""
    thresholds: NDArray[np.float32]
    """Of these, ascending, each once."""
    not_above_zero: int
    """How many thresholds are zero or below."""
    first_keys: Integers
    """Smallest key of each interval, ascending."""

    @classmethod
    def of(cls, nodes: TreeNodes, feature: int) -> Self:
        (splits,) = np.nonzero(
            (nodes.feature == feature) & (nodes.left >= 0) & (nodes.first_leaf >= 0)
        )
        # Plus zero: of two thresholds that are equal numbers one is enough.
        thresholds = np.unique(nodes.value[splits] + np.float32(0))
        bits = thresholds.view(np.uint32).astype(np.int64)
        bits[thresholds == 0] = _NEGATIVE_ZERO
        zero = int(np.searchsorted(thresholds, 0, "right"))
        # A value that equals the threshold is not below it.
        below = bits[:zero][::-1] + 1
        ends = np.array([0, _ABOVE_INFINITY, _NEGATIVE_ZERO, _BELOW_INFINITY])
        first_keys = np.concatenate([ends[:1], bits[zero:], ends[1:3], below, ends[3:]])
        return cls(splits, thresholds, zero, first_keys + (feature << 32))

    def fill(self, lines: Masks, nodes: TreeNodes, possible: Masks) -> None:
        """Write the masks into ``lines``, shape ``(intervals, trees)``."""
        trees = nodes.tree[self.splits]
        places = self.thresholds.searchsorted(nodes.value[self.splits])
        go_left = ~_masks(nodes, nodes.right[self.splits], possible.dtype)
        go_right = ~_masks(nodes, nodes.left[self.splits], possible.dtype)
        by_value = np.tile(possible, (len(self.thresholds) + 1, 1))
        np.bitwise_and.at(by_value, (places + 1, trees), go_right)
        np.bitwise_and.accumulate(by_value, axis=0, out=by_value)
        left = np.full_like(by_value, ~possible.dtype.type(0))
        np.bitwise_and.at(left, (places, trees), go_left)
        np.bitwise_and.accumulate(left[::-1], axis=0, out=left[::-1])
        by_value &= left
        missing = possible.copy()
        np.bitwise_and.at(
            missing, trees, np.where(nodes.missing_left[self.splits], go_left, go_right)
        )
        zero, infinity = self.not_above_zero, len(by_value) - self.not_above_zero
        lines[:infinity] = by_value[zero:]
        lines[infinity] = lines[-1] = missing
        lines[infinity + 1 : -1] = by_value[zero::-1]


def _masks(nodes: TreeNodes, places: Integers, dtype: np.dtype[Any]) -> Masks:
    """Set the bits of the leaves below each node."""
    count, first = nodes.leaves[places], nodes.first_leaf[places]
    ones = np.uint64(0xFFFFFFFFFFFFFFFF) >> (MAX_LEAVES - count).astype(np.uint64)
    return (ones << first.astype(np.uint64)).astype(dtype)


def _values(keys: Integers) -> NDArray[np.float32]:
    """View the lower halves of keys as numbers."""
    return keys.view("<f4")[..., ::2]


def _probability(negative_margin: float) -> float:
    """Apply XGBoost's sigmoid, which rounds to float32 after each step."""
    exponential = _expf(min(negative_margin, _GREATEST_EXPONENT))
    return _float32(1.0 / _float32(exponential + 1.0).value).value
