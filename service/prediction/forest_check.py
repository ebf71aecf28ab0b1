"""Whether a forest scores as its booster does, asked when a model is loaded.

What could differ is what happens at a threshold, so the rows of this check are made of thresholds:
each feature takes each of its own, exactly, the float32 next below and next above, beside values
that have no like: missing (of either sign), the zeros, the infinities. They come in random order,
independently of the other features, so that every one of them is met, in many combinations. What
is wrong with the method, at any threshold or with any kind of value, differs in thousands of these
scores. One wrong bit in the table may not show: deep in a tree few rows pass a split.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.prediction.forest import Forest
from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.tree_nodes import TreeNodes, UnusableForestError

ROWS = 6_000
"""In some 80 ms for 300 trees of depth 6; more where a feature has more values to try."""
MAX_ROWS = 30_000
ROWS_ALONE = 300
"""Of these; scored one by one, as those of single requests are."""
ROWS_OF_RANDOM_BITS = 200
"""Numbers of any magnitude."""

_SPECIAL = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf], np.float32)


def verified_forest(booster: xgb.Booster) -> Forest:
    """Make the forest of ``booster`` and see that it scores as the booster does.

    Raises:
        UnusableForestError: It cannot be made, or does not.
    """
    try:
        nodes = TreeNodes.from_json(booster.save_raw("json"))
    except (LookupError, TypeError) as error:
        raise UnusableForestError(f"the booster's JSON has another form: {error!r}") from error
    forest = Forest.of(nodes)
    verify(forest, booster, nodes)
    return forest


def verify(forest: Forest, booster: xgb.Booster, nodes: TreeNodes) -> None:
    """Compare scores on rows around every threshold of ``nodes``, the trees of ``booster``.

    Equal means equal in every bit: requests that come alone are scored by one, large batches by
    the other, and a row must not score differently in company.

    Raises:
        UnusableForestError: A score differs.
    """
    rows = _rows(nodes)
    expected = np.asarray(booster.inplace_predict(rows, validate_features=False), np.float64)
    alone = [forest.predict(rows[i : i + 1]) for i in range(min(ROWS_ALONE, len(rows)))]
    found = np.concatenate([*alone, forest.predict(rows[len(alone) :])])
    differing = np.flatnonzero(found != expected)
    if len(differing):
        worst = differing[np.argmax(np.abs(found - expected)[differing])]
        raise UnusableForestError(
            f"{len(differing)} of {len(rows)} scores differ from XGBoost's, "
            f"such as {found[worst]:.9g} from {expected[worst]:.9g}"
        )


def _rows(nodes: TreeNodes) -> NDArray[np.float32]:
    # The same rows at every load, so that a worker which finds a difference is not alone with it.
    random = np.random.default_rng(0)
    values = list(_values_to_try(nodes))
    longest = max(map(len, values), default=0)
    count = min(max(ROWS, longest), MAX_ROWS)
    rows = np.empty((count + ROWS_OF_RANDOM_BITS, nodes.features), np.float32)
    for feature, tried in enumerate(values):
        # Whole rounds, each in an order of its own.
        rounds = [random.permutation(tried) for _ in range(-(-count // len(tried)))]
        rows[:count, feature] = np.concatenate(rounds)[:count]
    bits = random.integers(0, 1 << 32, (ROWS_OF_RANDOM_BITS, nodes.features), np.uint32)
    rows[count:] = bits.view(np.float32)
    return rows[random.permutation(len(rows))]


def _values_to_try(nodes: TreeNodes) -> Iterator[NDArray[np.float32]]:
    splits = nodes.left >= 0
    for feature in range(nodes.features):
        thresholds = np.unique(nodes.value[splits & (nodes.feature == feature)])
        sides = [np.nextafter(thresholds, np.float32(side)) for side in (-np.inf, np.inf)]
        yield np.concatenate([thresholds, *sides, _SPECIAL])
