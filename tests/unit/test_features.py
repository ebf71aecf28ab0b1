import json
import math
import struct
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.prediction.ad_request import AdRequest
from service.prediction.feature_table import Table
from service.prediction.features import MAX_NAMED_VALUES, FeatureEncoder
from service.prediction.request_keys import KEYS
from service.training.click_log import ClickLog
from service.training.encoding import (
    BLOCKS,
    PRIOR_CLICKS,
    encode_log,
    fit_encoder,
    out_of_block_features,
)
from service.training.simulation import simulate

_REQUEST = AdRequest("user-7", "ad-3", "mobile", "site1:top", 20, 5)


Rows = Mapping[str | int, tuple[float, ...]]


def _tables(**changed: Rows) -> dict[str, Table]:
    empty: dict[str, Table] = {key.table: {} for key in KEYS}
    return {**empty, **{name: _packed(rows) for name, rows in changed.items()}}


def _packed(rows: Rows) -> Table:
    return {key: struct.pack(f"{len(row)}f", *row) for key, row in rows.items()}


_TEXT = st.text("ab:", max_size=6)
"""Ids that often have a part in common, and an empty one."""
_REQUESTS = st.lists(
    st.builds(AdRequest, _TEXT, _TEXT, _TEXT, _TEXT, st.integers(0, 23), st.integers(0, 6)),
    max_size=8,
)
_FLOATS = st.floats(-20, 20, width=32)


_NUMBERS: dict[str, st.SearchStrategy[int]] = {
    "hour": st.integers(0, 23),
    "day_of_week": st.integers(0, 6),
}


@st.composite
def _rows(draw: st.DrawFn) -> dict[str, Rows]:
    """Tables before they are packed, of keys that requests are likely to have."""
    return {
        key.table: draw(
            st.dictionaries(
                _NUMBERS.get(key.table, _TEXT),
                st.tuples(*[_FLOATS] * len(key.features)),
                max_size=4,
            )
        )
        for key in KEYS
    }


def _encoders() -> st.SearchStrategy[FeatureEncoder]:
    return _rows().map(lambda rows: FeatureEncoder(_tables(**rows)))


def test_a_row_holds_the_features_of_each_key_in_the_order_of_the_names() -> None:
    encoder = FeatureEncoder(
        _tables(ad={"ad-3": (0.5, 2.0)}, slot={"top": (0.25, 8.0)}, hour={20: (-1.5,)})
    )

    row = dict(zip(encoder.names, encoder.encode([_REQUEST])[0].tolist(), strict=True))

    known = {name: value for name, value in row.items() if value}
    assert known == {
        "ad_effect": 0.5,
        "ad_log_count": 2.0,
        "slot_effect": 0.25,
        "slot_log_count": 8.0,
        "hour_effect": -1.5,
    }


def test_ids_never_seen_have_no_effect_and_no_count() -> None:
    encoder = fit_encoder(simulate(2_000, seed=1).log)
    stranger = AdRequest("#", "#", "#", "#:#", 3, 2)

    row = dict(zip(encoder.names, encoder.encode([stranger])[0].tolist(), strict=True))

    assert {name for name, value in row.items() if value} == {"hour_effect", "day_of_week_effect"}


def test_a_new_ad_is_known_by_its_family_and_a_new_slot_by_its_publisher() -> None:
    encoder = FeatureEncoder(
        _tables(
            ad_family={"c017": (0.7, 1.0)},
            ad_siblings={"c0173": (0.2, 1.0)},
            publisher={"site1": (0.3, 1.0)},
        )
    )

    row = encoder.encode([AdRequest("u", "c01739", "d", "site1:new", 0, 0)])[0]

    assert row[encoder.names.index("ad_family_effect")] == np.float32(0.7)
    assert row[encoder.names.index("ad_siblings_effect")] == np.float32(0.2)
    assert row[encoder.names.index("publisher_effect")] == np.float32(0.3)


@given(_encoders(), _REQUESTS)
def test_a_batch_is_encoded_as_its_rows_one_by_one(
    encoder: FeatureEncoder, requests: list[AdRequest]
) -> None:
    batch = encoder.encode(requests)

    assert batch.dtype == np.float32
    assert batch.shape == (len(requests), len(encoder.names))
    for row, request in zip(batch, requests, strict=True):
        assert row.tobytes() == encoder.encode([request]).tobytes()


@given(_encoders(), _REQUESTS)
def test_json_round_trip_is_exact(encoder: FeatureEncoder, requests: list[AdRequest]) -> None:
    restored = FeatureEncoder.from_json(encoder.to_json())

    assert restored.names == encoder.names
    assert restored.vocabularies == encoder.vocabularies
    assert restored.encode(requests).tobytes() == encoder.encode(requests).tobytes()
    assert restored.to_json() == encoder.to_json()


def _parts_by_hand(request: AdRequest) -> dict[str, str | int]:
    publisher, _, slot = request.placement.partition(":")
    return {
        "ad": request.ad_id,
        "ad_family": request.ad_id[:4],
        "ad_siblings": request.ad_id[:5],
        "placement": request.placement,
        "publisher": publisher,
        "slot": slot,
        "user": request.user_id,
        "user_tail": request.user_id[-4:],
        "device": request.device,
        "hour": request.hour,
        "day_of_week": request.day_of_week,
    }


@given(_rows(), _REQUESTS)
def test_every_feature_is_what_a_lookup_by_hand_finds(
    rows: dict[str, Rows], requests: list[AdRequest]
) -> None:
    encoder = FeatureEncoder(_tables(**rows))

    expected = [
        number
        for request in requests
        for table, key in _parts_by_hand(request).items()
        for number in rows[table].get(key, (0.0,) if table in _NUMBERS else (0.0, 0.0))
    ]

    assert encoder.encode(requests).ravel().tolist() == expected


def _position_by_hand(table: Rows, value: str | int) -> int:
    named = [key for key in table if key not in {"(other)", "(unseen)"}][:MAX_NAMED_VALUES]
    if value in named:
        return named.index(value)
    return len(named) + (value not in table)


@given(_rows(), _REQUESTS)
def test_value_indices_are_what_a_search_by_hand_finds(
    rows: dict[str, Rows], requests: list[AdRequest]
) -> None:
    indices = FeatureEncoder(_tables(**rows)).value_indices(requests)

    assert indices.shape == (len(requests), 6)
    assert indices.dtype == np.int64
    assert indices.tolist() == [
        [
            int(request.user_id not in rows["user"]),
            int(request.ad_id not in rows["ad"]),
            _position_by_hand(rows["device"], request.device),
            _position_by_hand(rows["placement"], request.placement),
            request.hour,
            request.day_of_week,
        ]
        for request in requests
    ]


@given(_encoders(), _REQUESTS)
def test_value_indices_point_into_the_vocabularies(
    encoder: FeatureEncoder, requests: list[AdRequest]
) -> None:
    for request, indices in zip(requests, encoder.value_indices(requests).tolist(), strict=True):
        values = [v[i] for v, i in zip(encoder.vocabularies.values(), indices, strict=True)]
        assert min(indices) >= 0
        assert values[4:] == [str(request.hour), str(request.day_of_week)]


def test_only_the_most_frequent_values_have_a_name_of_their_own() -> None:
    devices: Rows = {f"device-{i}": (0.0, 0.0) for i in range(MAX_NAMED_VALUES + 1)}
    encoder = FeatureEncoder(_tables(device=devices, user={"user-7": (0.0, 0.0)}))
    vocabulary = encoder.vocabularies["device"]

    def named(device: str) -> str:
        return vocabulary[int(encoder.value_indices([_REQUEST._replace(device=device)])[0, 2])]

    assert vocabulary == (*map(str, list(devices)[:MAX_NAMED_VALUES]), "(other)", "(unseen)")
    assert named("device-0") == "device-0"
    assert named(f"device-{MAX_NAMED_VALUES}") == "(other)"
    assert named("toaster") == "(unseen)"
    assert encoder.value_indices([_REQUEST])[0, :2].tolist() == [
        0,
        1,
    ]  # the user is seen, the ad is not


def test_a_device_that_is_called_other_makes_no_second_value_of_that_name() -> None:
    encoder = FeatureEncoder(_tables(device={"(other)": (0.0, 0.0), "tv": (0.0, 0.0)}))

    assert encoder.vocabularies["device"] == ("tv", "(other)", "(unseen)")
    assert encoder.value_indices([_REQUEST._replace(device="(other)")])[0, 2] == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content.update(format=99), "format 99"),
        (lambda content: content.pop("tables"), "tables"),
        (lambda content: content["tables"].pop("user"), "user"),
        (lambda content: content["tables"]["ad"].pop("effect"), "effect"),
        (lambda content: content["tables"]["ad"]["keys"].pop(), "shorter|longer"),
        (lambda content: content["tables"]["ad"]["effect"].__setitem__(0, None), "malformed"),
        (lambda content: content["tables"]["ad"]["effect"].__setitem__(0, "0.5"), "malformed.*str"),
        (
            lambda content: content["tables"]["ad"]["effect"].__setitem__(0, 1e39),
            "ad holds a number that is not finite",
        ),
        (lambda content: content["tables"]["ad"]["effect"].__setitem__(0, math.inf), "finite"),
        (lambda content: content["names"].reverse(), "names"),
    ],
)
def test_damaged_json_is_refused(damage: object, message: str) -> None:
    encoder = FeatureEncoder(_tables(ad={"a": (0.0, 1.0), "b": (0.0, 1.0)}))
    content = json.loads(encoder.to_json())
    assert callable(damage)
    damage(content)

    with pytest.raises(ValueError, match=message):
        FeatureEncoder.from_json(json.dumps(content))


def test_training_and_serving_make_identical_features() -> None:
    log = simulate(3_000, seed=2).log
    encoder = fit_encoder(log)

    served = FeatureEncoder.from_json(encoder.to_json())
    one_by_one = np.concatenate([served.encode([request]) for request in log.requests()])

    assert one_by_one.tobytes() == encode_log(encoder, log).tobytes()


def test_an_effect_is_the_smoothed_log_odds_against_the_log() -> None:
    log = simulate(2_000, seed=3).log
    encoder = fit_encoder(log)
    rows = [request.device == "tablet" for request in log.requests()]
    impressions, clicks = sum(rows), int(log.click[rows].sum())
    rate = (log.click.sum() + 0.5) / (len(log) + 1)
    smoothed = (clicks + PRIOR_CLICKS) / (impressions + PRIOR_CLICKS / rate)

    row = encoder.encode([AdRequest("#", "#", "tablet", "#:#", 0, 0)])[0]

    expected = math.log(smoothed / (1 - smoothed)) - math.log(rate / (1 - rate))
    assert row[encoder.names.index("device_effect")] == pytest.approx(expected, rel=1e-5)
    assert row[encoder.names.index("device_log_count")] == pytest.approx(math.log1p(impressions))


def _flipped(log: ClickLog, rows: slice) -> ClickLog:
    click = log.click.copy()
    click[rows] = ~click[rows]
    return ClickLog(
        user_id=log.user_id,
        ad_id=log.ad_id,
        device=log.device,
        placement=log.placement,
        hour=log.hour,
        day_of_week=log.day_of_week,
        click=click,
    )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_training_features_do_not_change_with_their_own_labels(block: int) -> None:
    log = simulate(1_000, seed=4).log
    rows = slice(block * len(log) // BLOCKS, (block + 1) * len(log) // BLOCKS)

    features = out_of_block_features(log)
    with_other_labels = out_of_block_features(_flipped(log, rows))

    assert features[rows].tobytes() == with_other_labels[rows].tobytes()
    assert features.tobytes() != with_other_labels.tobytes()


def test_training_features_say_nothing_about_labels_that_are_pure_chance() -> None:
    log = simulate(20_000, seed=5).log
    rng = np.random.default_rng(6)
    chance = ClickLog(
        user_id=log.user_id,
        ad_id=log.ad_id,
        device=log.device,
        placement=log.placement,
        hour=log.hour,
        day_of_week=log.day_of_week,
        click=rng.random(len(log)) < 0.2,
    )
    user = fit_encoder(chance).names.index("user_effect")

    honest = np.corrcoef(out_of_block_features(chance)[:, user], chance.click)[0, 1]
    leaking = np.corrcoef(encode_log(fit_encoder(chance), chance)[:, user], chance.click)[0, 1]

    assert abs(honest) < 4 / math.sqrt(len(log))  # four standard errors of no correlation
    assert leaking > 0.2
