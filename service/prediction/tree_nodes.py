"""The trees of a booster as flat arrays, read from the JSON that XGBoost writes of it."""

import ctypes
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

_logf = ctypes.PyDLL(None).logf
_logf.argtypes, _logf.restype = (ctypes.c_float,), ctypes.c_float


class UnusableForestError(ValueError):
    """A booster's scores cannot be had from tables of leaves; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeNodes:
    """All nodes of all trees, side by side, in the order in which XGBoost sums the trees.

    The first tree is one leaf, the log-odds that the sum begins with. Leaves are numbered from
    left to right in their tree, so that those below a node are one range.
    """

    features: int
    """How many feature columns the booster was trained on."""
    roots: Integers
    """Place of each tree's root."""
    tree: Integers
    """Number of each node's tree."""
    left: Integers
    """Place of the child for values below the threshold; -1 at a leaf."""
    right: Integers
    """Place of the child for values of the threshold and above; -1 at a leaf."""
    feature: Integers
    """Column that a split looks at."""
    value: NDArray[np.float32]
    """Threshold of a split, output of a leaf."""
    missing_left: NDArray[np.bool_]
    """Whether a split sends a missing value to the left."""
    first_leaf: Integers
    """Number, in its tree, of the first leaf below the node (of a leaf: its own); -1 for nodes
    that pruning has cut off."""
    leaves: Integers
    """How many leaves are below the node; 1 at a leaf."""

    @classmethod
    def from_json(cls, content: bytes | bytearray) -> Self:
        """Read what ``Booster.save_raw("json")`` returned.

        Raises:
            UnusableForestError: It is no binary:logistic gbtree of numeric splits.
        """
        learner = json.loads(content)["learner"]
        of_all = _trees(learner)
        parameters = learner["learner_model_param"]
        trees = [_base_margin(parameters), *of_all]
        sizes = [len(tree["left_children"]) for tree in trees]
        roots = np.cumsum([0, *sizes[:-1]])
        shift = np.repeat(roots, sizes)
        left, right = _joined(trees, "left_children"), _joined(trees, "right_children")
        is_split = left >= 0
        left, right = np.where(is_split, left + shift, -1), np.where(is_split, right + shift, -1)
        value = _joined(trees, "split_conditions", np.float32)
        _require(not np.isnan(value).any(), "a threshold or a leaf is not a number")
        first_leaf, leaves = _leaf_ranges(roots, left, right)
        return cls(
            features=int(parameters["num_feature"]),
            roots=roots,
            tree=np.repeat(np.arange(len(trees)), sizes),
            left=left,
            right=right,
            feature=_joined(trees, "split_indices"),
            value=value,
            missing_left=_joined(trees, "default_left", np.bool_),
            first_leaf=first_leaf,
            leaves=leaves,
        )


def _trees(learner: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    booster, objective = learner["gradient_booster"], learner["objective"]["name"]
    _require(booster["name"] == "gbtree", f"the booster is {booster['name']}, not gbtree")
    _require(objective == "binary:logistic", f"the objective is {objective}, not binary:logistic")
    trees: Sequence[Mapping[str, Any]] = booster["model"]["trees"]
    # Of no tree XGBoost 3 does not turn the base score into log-odds.
    _require(trees, "there is no tree")
    for number, tree in enumerate(trees):
        _require(not any(tree["split_type"]), f"tree {number} has a categorical split")
    return trees


def _base_margin(parameters: Mapping[str, str]) -> Mapping[str, Sequence[float]]:
    """Make a tree of one leaf, XGBoost's log-odds before the first tree, in its own arithmetic."""
    written = json.loads(parameters["base_score"])
    scores = written if isinstance(written, list) else [written]
    outputs = max(len(scores), int(parameters["num_target"]), int(parameters["num_class"]))
    _require(outputs == 1, f"there are {outputs} outputs, not one")
    score = np.float32(scores[0])
    margin = -_logf(np.float32(1) / score - np.float32(1))
    return {
        "left_children": [-1],
        "right_children": [-1],
        "split_indices": [0],
        "split_conditions": [margin],
        "default_left": [0],
    }


def _joined(
    trees: Sequence[Mapping[str, Any]], key: str, dtype: type[np.generic] = np.int64
) -> NDArray[Any]:
    return np.concatenate([np.asarray(tree[key], dtype) for tree in trees])


def _leaf_ranges(roots: Integers, left: Integers, right: Integers) -> tuple[Integers, Integers]:
    """Number the leaves of each tree; one level of all trees at a time."""
    splits_of_levels, level = [], roots
    while len(level):
        splits = level[left[level] >= 0]
        splits_of_levels.append(splits)
        level = np.concatenate([left[splits], right[splits]])
    leaves, first_leaf = np.ones_like(left), np.full_like(left, -1)
    for splits in reversed(splits_of_levels):
        leaves[splits] = leaves[left[splits]] + leaves[right[splits]]
    first_leaf[roots] = 0
    for splits in splits_of_levels:
        first_leaf[left[splits]] = first_leaf[splits]
        first_leaf[right[splits]] = first_leaf[splits] + leaves[left[splits]]
    return first_leaf, leaves


def _require(holds: object, reason: str) -> None:
    if not holds:
        raise UnusableForestError(reason)
