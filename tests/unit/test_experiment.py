import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.prediction.experiment import Experiment, ExperimentError

HALF = Experiment(name="t", salt="s", weights={"a": 1, "b": 1})


def test_the_assignment_is_the_salted_hash_of_the_user() -> None:
    # By hand: the first half of the hash range goes to a, the second to b.
    for user in ("u1", "u2", "u3", "é"):
        first_byte = hashlib.blake2b(f"s:{user}".encode(), digest_size=8).digest()[0]
        assert HALF.assign(user).model == ("a" if first_byte < 128 else "b")


def test_shares_follow_the_weights() -> None:
    experiment = Experiment(name="t", salt="s", weights={"a": 7, "b": 2, "c": 1, "off": 0})
    assigned = [experiment.assign(f"user{i}").model for i in range(20_000)]

    counts = [assigned.count(model) for model in "abc"]
    assert stats.chisquare(counts, [14_000, 4_000, 2_000]).pvalue > 0.001
    assert "off" not in assigned


def test_another_salt_assigns_independently() -> None:
    other = Experiment(name="t", salt="other", weights=HALF.weights)
    same = sum(HALF.assign(f"u{i}").model == other.assign(f"u{i}").model for i in range(10_000))

    assert stats.binomtest(same, 10_000, 0.5).pvalue > 0.001


def test_cells_divide_the_users_of_each_variant_evenly() -> None:
    assigned = [HALF.assign(f"user{i}") for i in range(64_000)]
    for model in "ab":
        counts = np.bincount([a.cell or 0 for a in assigned if a.model == model], minlength=64)
        assert stats.chisquare(counts).pvalue > 0.001


def test_the_cell_is_the_end_of_the_hash_whose_beginning_chooses_the_model() -> None:
    last_byte = hashlib.blake2b(b"s:u1", digest_size=8).digest()[-1]

    assert HALF.assign("u1").cell == last_byte & 63


def test_users_have_no_cell_where_nothing_is_compared() -> None:
    alone = Experiment(name="t", salt="s", weights={"a": 1, "b": 0})

    assert alone.assign("u") == ("a", None)


@pytest.mark.parametrize(
    "other",
    [
        Experiment(name="t", salt="s", weights={"a": 1, "b": 2}),
        Experiment(name="t", salt="s", weights={"a": 1, "b": 1, "c": 1}),
        Experiment(name="t", salt="r", weights={"a": 1, "b": 1}),
        Experiment(name="u", salt="s", weights={"a": 1, "b": 1}),
    ],
)
def test_another_name_salt_or_share_is_another_experiment(other: Experiment) -> None:
    assert other.fingerprint != HALF.fingerprint
    assert other.key != HALF.key


def test_weights_in_the_same_ratio_are_the_same_experiment() -> None:
    same = Experiment(name="t", salt="s", weights={"b": 5, "a": 5})

    assert same.key == HALF.key == f"t.{HALF.fingerprint:08x}"


@given(st.text())
def test_every_user_gets_a_variant_and_keeps_it(user: str) -> None:
    twin = Experiment(name="renamed", salt="s", weights={"a": 1, "b": 1})
    try:
        user.encode()
    except UnicodeEncodeError:  # cannot arrive: a body with it is refused
        return
    assert HALF.assign(user).model == twin.assign(user).model in {"a", "b"}


def test_raising_a_weight_moves_users_only_to_that_variant() -> None:
    more_b = Experiment(name="t", salt="s", weights={"a": 1, "b": 3})
    for i in range(2_000):
        if HALF.assign(f"u{i}").model == "b":
            assert more_b.assign(f"u{i}").model == "b"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name = 't'\nsalt = 's'", "variants"),
        ("name = 't'\nsalt = 's'\n[variants]", "variants"),
        ("salt = 's'\n[variants]\na = 1", "name"),
        ("name = 't'\n[variants]\na = 1", "salt"),
        ("name = 't'\nsalt = 's'\n[variants]\na = -1", "variants.a"),
        ("name = 't'\nsalt = 's'\n[variants]\na = nan", "variants.a"),
        ("name = 't'\nsalt = 's'\n[variants]\na = inf", "variants.a"),
        ("name = 't'\nsalt = 's'\n[variants]\na = true", "variants.a"),
        ("name = 't'\nsalt = 's'\n[variants]\na = 'x'", "variants.a"),
        ("name = 't'\nsalt = 's'\n[variants]\na = 0", "variants"),
        ("name = 't'\nsalt = 's'\n[variants]\nmissing = 1", "variants.missing"),
        ("name = 't'\nsalt = 's'\nweight = 3\n[variants]\na = 1", "weight"),
        ("name = 't'\nsalt = 's'\n[variants]\na = 1e308\nb = 1e308", "variants.a"),
        (f"name = 't'\nsalt = 's'\n[variants]\na = {'9' * 400}", "variants.a"),
        ("name = ", "not TOML"),
        (f"name = {'[' * 5000}", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_field_named(
    tmp_path: Path, text: str, named: str
) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(text)

    with pytest.raises(ExperimentError, match=named):
        Experiment.load(file, models=["a", "b"])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="No such file"):
        Experiment.load(tmp_path / "none.toml", models=["a"])


def test_without_a_file_one_model_takes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Experiment.load(None, models=["logistic", "xgboost"]).assign("u").model == "xgboost"
    assert Experiment.load(None, models=["mine"]).assign("u").model == "mine"
