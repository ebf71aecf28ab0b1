"""The table of leaf masks, held against XGBoost's own predictor."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from numpy.typing import NDArray

from service.prediction.ad_request import AdRequest
from service.prediction.features import FeatureEncoder
from service.prediction.forest import Forest
from service.prediction.forest_check import verified_forest, verify
from service.prediction.model_kinds import FOREST_ROWS, XGBoostModel
from service.prediction.request_keys import KEYS
from service.prediction.tree_nodes import TreeNodes, UnusableForestError

Rows = NDArray[np.float32]
Content = dict[str, Any]

_FEATURES = 7


def _rows(count: int, *, seed: int = 1) -> Rows:
    """Values of all sizes, many of them equal, a tenth missing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, _FEATURES)).astype(np.float32)
    rows[:, 1] = random.integers(-3, 4, count)
    rows[:, 2] *= 1e-30
    rows[:, 3] = np.exp(rows[:, 3] * 5)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


_TRAINING = _rows(3000)
_EFFECT = np.nan_to_num(_TRAINING[:, 0]) * np.nan_to_num(_TRAINING[:, 1], nan=2) + np.log(
    np.nan_to_num(_TRAINING[:, 3], nan=9)
)
_CLICKS = _EFFECT + np.random.default_rng(2).logistic(size=len(_EFFECT)) > 1


def _trained(trees: int = 20, /, **parameters: object) -> xgb.Booster:
    rows = xgb.DMatrix(_TRAINING, _CLICKS)
    options = {"objective": "binary:logistic", "nthread": 1, "max_depth": 4, **parameters}
    return xgb.train(options, rows, trees)


def _content(booster: xgb.Booster) -> Content:
    content: Content = json.loads(booster.save_raw("json"))
    return content


def _edited(booster: xgb.Booster, edit: Callable[[Content], None]) -> xgb.Booster:
    """Change what a booster is by its file."""
    content = _content(booster)
    edit(content)
    edited = xgb.Booster()
    edited.load_model(bytearray(json.dumps(content).encode()))
    edited.set_param({"nthread": 1})
    return edited


def _forest(booster: xgb.Booster) -> Forest:
    """Make the forest without the check, so that these tests are what finds a difference."""
    return Forest.of(TreeNodes.from_json(booster.save_raw("json")))


def _of_booster(booster: xgb.Booster, rows: Rows) -> NDArray[np.float64]:
    return booster.predict(xgb.DMatrix(rows)).astype(np.float64)


def _assert_equal(booster: xgb.Booster, rows: Rows) -> None:
    assert _forest(booster).predict(rows).tobytes() == _of_booster(booster, rows).tobytes()


@pytest.mark.parametrize(("depth", "bits"), [(1, 8), (2, 8), (3, 8), (4, 16), (5, 32), (6, 64)])
def test_scores_of_a_hundred_thousand_rows_are_xgboosts_to_the_bit(depth: int, bits: int) -> None:
    booster = _trained(max_depth=depth)

    _assert_equal(booster, _rows(100_000, seed=depth))
    assert _forest(booster).table.dtype.itemsize * 8 == bits


@pytest.mark.parametrize(
    "parameters",
    [
        {"base_score": 0.5},
        {"base_score": 0.017},
        {"base_score": 0.9999},
        {"num_parallel_tree": 4, "subsample": 0.5},
        {"grow_policy": "lossguide", "max_leaves": 64, "max_depth": 0},
        {"grow_policy": "lossguide", "max_leaves": 12, "max_depth": 0},
        {"tree_method": "exact", "gamma": 3.0},
        {"learning_rate": 40.0},
        {"learning_rate": 1e-6},
        {"scale_pos_weight": 30},
    ],
    ids=str,
)
def test_however_it_was_trained_the_scores_are_xgboosts(parameters: Mapping[str, object]) -> None:
    _assert_equal(_trained(**parameters), _rows(5000, seed=9))


def test_a_booster_trained_with_another_missing_value_agrees() -> None:
    training = np.nan_to_num(_TRAINING, nan=-1.0)
    rows = xgb.DMatrix(training, _CLICKS, missing=-1.0)
    booster = xgb.train({"objective": "binary:logistic", "nthread": 1}, rows, 10)

    _assert_equal(booster, _rows(5000, seed=9))


def test_an_early_stop_cuts_no_tree_of_either() -> None:
    rows = xgb.DMatrix(_TRAINING, _CLICKS)
    booster = xgb.train(
        {"objective": "binary:logistic", "nthread": 1, "learning_rate": 1.0},
        rows,
        60,
        evals=[(xgb.DMatrix(_rows(3000, seed=3), _CLICKS), "other")],
        early_stopping_rounds=5,
        verbose_eval=False,
    )
    assert booster.best_iteration < booster.num_boosted_rounds() - 1

    _assert_equal(booster, _rows(5000, seed=9))


def test_trees_without_a_split_add_their_one_leaf() -> None:
    booster = _trained(3, gamma=1e9)
    assert "split" not in "".join(booster.get_dump())

    _assert_equal(booster, _rows(100))


def test_at_a_threshold_and_beside_it_the_scores_are_xgboosts() -> None:
    booster = _trained(1, max_depth=6, learning_rate=1.0)
    nodes = TreeNodes.from_json(booster.save_raw("json"))
    random = np.random.default_rng(4)
    for place in np.flatnonzero(nodes.left >= 0):
        threshold = nodes.value[place]
        rows = random.choice(nodes.value, (60, _FEATURES))
        rows[:20, nodes.feature[place]] = threshold
        rows[20:40, nodes.feature[place]] = np.nextafter(threshold, np.float32(-np.inf))
        rows[40:, nodes.feature[place]] = np.nextafter(threshold, np.float32(np.inf))
        _assert_equal(booster, rows)


def _first_threshold(value: float) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        tree = content["learner"]["gradient_booster"]["model"]["trees"][0]
        tree["split_conditions"][0] = value

    return edit


@pytest.mark.parametrize("threshold", [0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38])
def test_zeros_infinities_and_both_kinds_of_nan_go_where_xgboost_sends_them(
    threshold: float,
) -> None:
    booster = _edited(_trained(1, learning_rate=1.0), _first_threshold(threshold))
    specials = [0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, np.nan, -np.nan]
    rows = np.repeat(_rows(40, seed=5), _FEATURES * len(specials), axis=0)
    for i in range(len(rows)):
        rows[i, i % _FEATURES] = specials[i // _FEATURES % len(specials)]

    # Not Booster.predict: its DMatrix refuses infinities, which a request may hold.
    expected = booster.inplace_predict(rows).astype(np.float64)
    assert _forest(booster).predict(rows).tobytes() == expected.tobytes()


def test_a_margin_of_any_size_gives_xgboosts_probability() -> None:
    margins = np.linspace(-120, 120, 30_001, dtype=np.float32)
    booster = _trained(0, base_score=0.5)
    expected = booster.predict(xgb.DMatrix(_rows(len(margins)), base_margin=margins))
    one_leaf = Forest(
        last_keys=np.empty(0, np.int64),
        table=np.ones((1, 1), np.uint8),
        first_outputs=np.zeros(1, np.int64),
        outputs=np.zeros(1, np.float32),
        features=1,
    )
    row = np.zeros((1, 1), np.float32)

    found = [
        replace(one_leaf, outputs=-margins[i : i + 1]).predict(row)[0] for i in range(len(margins))
    ]

    assert found == expected.tolist()


def test_a_row_scores_the_same_alone_and_in_any_company() -> None:
    model = XGBoostModel(_trained(50, max_depth=6))
    rows = _rows(FOREST_ROWS + 40, seed=6)

    alone = np.concatenate([model.predict(row[None]) for row in rows])

    assert model.evaluator == ("forest", None)
    for count in (1, 2, 3, 15, 16, 17, 33, FOREST_ROWS, FOREST_ROWS + 1, len(rows)):
        assert model.predict(rows[:count]).tobytes() == alone[:count].tobytes()
    assert model.predict(rows[:0]).shape == (0,)
    assert model.predict(np.asfortranarray(rows)[:9]).tobytes() == alone[:9].tobytes()


def test_two_threads_at_once_score_as_one() -> None:
    forest, rows = _forest(_trained(50)), _rows(400)
    alone = [forest.predict(row[None])[0] for row in rows]

    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda row: float(forest.predict(row[None])[0]), list(rows) * 10)

    assert list(found) == alone * 10


def test_unseen_users_and_ads_score_as_by_the_booster() -> None:
    random = np.random.default_rng(7)
    tables = {
        key.table: {
            value: random.normal(size=len(key.features)).astype(np.float32).tobytes()
            for value in (range(24) if key.field in {"hour", "day_of_week"} else ("a", "b", "c"))
        }
        for key in KEYS
    }
    encoder = FeatureEncoder(tables)
    requests = [
        AdRequest(
            user_id=str(random.choice(["a", "b", "never seen"])),
            ad_id=str(random.choice(["c", "never seen"])),
            device=str(random.choice(["a", "a new device"])),
            placement=str(random.choice(["b", "elsewhere"])),
            hour=int(random.integers(24)),
            day_of_week=int(random.integers(7)),
        )
        for _ in range(400)
    ]
    rows = encoder.encode(requests)
    options = {"objective": "binary:logistic", "nthread": 1}
    training = xgb.DMatrix(rows, random.random(len(rows)) < 0.3)
    booster = xgb.train(options, training, 20)

    assert not rows[0].flags.writeable
    assert XGBoostModel(booster).predict(rows[:100]).tolist() == (
        _of_booster(booster, rows[:100]).tolist()
    )


def test_features_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="rows have 3 features, not 7"):
        _forest(_trained(1)).predict(np.zeros((1, 3), np.float32))


def _swapped_leaf(forest: Forest) -> Forest:
    outputs = forest.outputs.copy()
    outputs[len(outputs) // 2] += np.float32(0.01)
    return replace(forest, outputs=outputs)


def _moved_threshold(forest: Forest) -> Forest:
    keys = forest.last_keys.copy()
    keys[len(keys) // 2] += 1
    return replace(forest, last_keys=keys)


def _ruled_out_leaf(forest: Forest) -> Forest:
    """Flip one bit of one mask: the lowest, in the interval below the first threshold's key."""
    table = forest.table.copy()
    table[1, 1] &= table[1, 1] - table.dtype.type(1)
    return replace(forest, table=table)


def _other_order(forest: Forest) -> Forest:
    """Sum the trees from the last to the first."""
    every = np.arange(forest.table.shape[1])
    order = np.concatenate([every[:1], every[:0:-1]])
    return replace(
        forest, table=forest.table[:, order].copy(), first_outputs=forest.first_outputs[order]
    )


@pytest.mark.parametrize("damage", [_swapped_leaf, _moved_threshold, _ruled_out_leaf, _other_order])
def test_a_forest_that_differs_is_found_and_the_booster_scores_alone(
    damage: Callable[[Forest], Forest],
) -> None:
    booster = _trained(30, max_depth=6)

    def damaged(booster: xgb.Booster) -> Forest:
        forest = damage(_forest(booster))
        verify(forest, booster, TreeNodes.from_json(booster.save_raw("json")))
        return forest

    model = XGBoostModel(booster, forest_of=damaged)

    assert model.evaluator.name == "xgboost"
    assert "scores differ from XGBoost's" in str(model.evaluator.fallback_reason)
    rows = _rows(5)
    assert model.predict(rows).tolist() == _of_booster(booster, rows).tolist()


def test_a_sound_forest_passes_whatever_the_booster() -> None:
    for booster in (_trained(30, max_depth=6), _trained(3, max_depth=1)):
        verified_forest(booster)


def _multiclass() -> xgb.Booster:
    rows = xgb.DMatrix(_TRAINING, np.arange(len(_TRAINING)) % 3)
    return xgb.train({"objective": "multi:softprob", "num_class": 3, "nthread": 1}, rows, 2)


def _two_outputs() -> xgb.Booster:
    rows = xgb.DMatrix(_TRAINING, np.stack([_CLICKS, ~_CLICKS], axis=1))
    return xgb.train({"objective": "binary:logistic", "nthread": 1}, rows, 2)


def _categorical() -> xgb.Booster:
    values = np.random.default_rng(8).integers(0, 20, (len(_CLICKS), 1)).astype(np.float32)
    rows = xgb.DMatrix(values, values[:, 0] % 3 == 0, feature_types=["c"], enable_categorical=True)
    return xgb.train({"objective": "binary:logistic", "nthread": 1}, rows, 2)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: _trained(2, booster="dart"), "the booster is dart, not gbtree"),
        (lambda: _trained(0), "there is no tree"),
        (
            lambda: _trained(2, objective="reg:squarederror"),
            "the objective is reg:squarederror, not binary:logistic",
        ),
        (_multiclass, "the objective is multi:softprob, not binary:logistic"),
        (_two_outputs, "there are 2 outputs, not one"),
        (_categorical, "tree 0 has a categorical split"),
        (
            lambda: _trained(2, max_depth=8, min_child_weight=0),
            r"a tree has \d+ leaves, more than 64",
        ),
    ],
)
def test_what_a_forest_cannot_stand_in_for_falls_back_and_says_why(
    make: Callable[[], xgb.Booster], reason: str
) -> None:
    booster = make()
    with pytest.raises(UnusableForestError, match=reason):
        verified_forest(booster)

    model = XGBoostModel(booster)

    assert model.evaluator.name == "xgboost"
    rows = _rows(3)[:, : booster.num_features()]
    expected = booster.inplace_predict(rows).astype(np.float64)
    assert model.predict(rows).tolist() == expected.tolist()


def test_a_linear_booster_is_no_forest() -> None:
    options = {"objective": "binary:logistic", "booster": "gblinear", "nthread": 1}
    booster = xgb.train(options, xgb.DMatrix(_TRAINING, _CLICKS), 2)

    with pytest.raises(UnusableForestError, match="the booster is gblinear, not gbtree"):
        verified_forest(booster)


def test_a_table_that_would_fill_the_memory_is_not_made() -> None:
    nodes = TreeNodes.from_json(_trained(30, max_depth=6).save_raw("json"))
    many_trees = replace(nodes, roots=np.resize(nodes.roots, 1_000_000))

    with pytest.raises(UnusableForestError, match=r"its table has \d+ MB, more than 64"):
        Forest.of(many_trees)


def test_json_of_another_form_falls_back() -> None:
    class Renamed(xgb.Booster):
        def save_raw(self, raw_format: str = "ubj") -> bytearray:
            return bytearray(super().save_raw(raw_format).replace(b"split_type", b"kind_of_it"))

    booster = Renamed()
    booster.load_model(_trained(2).save_raw("json"))

    assert "another form: KeyError('split_type')" in str(
        XGBoostModel(booster).evaluator.fallback_reason
    )
