import hashlib
from pathlib import Path

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
        assert HALF.assign(user) == ("a" if first_byte < 128 else "b")


def test_shares_follow_the_weights() -> None:
    experiment = Experiment(name="t", salt="s", weights={"a": 7, "b": 2, "c": 1, "off": 0})
    assigned = [experiment.assign(f"user{i}") for i in range(20_000)]

    counts = [assigned.count(model) for model in "abc"]
    assert stats.chisquare(counts, [14_000, 4_000, 2_000]).pvalue > 0.001
    assert "off" not in assigned


def test_another_salt_assigns_independently() -> None:
    other = Experiment(name="t", salt="other", weights=HALF.weights)
    same = sum(HALF.assign(f"u{i}") == other.assign(f"u{i}") for i in range(10_000))

    assert stats.binomtest(same, 10_000, 0.5).pvalue > 0.001


@given(st.text())
def test_every_user_gets_a_variant_and_keeps_it(user: str) -> None:
    twin = Experiment(name="renamed", salt="s", weights={"a": 1, "b": 1})
    try:
        user.encode()
    except UnicodeEncodeError:  # cannot arrive: a body with it is refused
        return
    assert HALF.assign(user) == twin.assign(user) in {"a", "b"}


def test_raising_a_weight_moves_users_only_to_that_variant() -> None:
    more_b = Experiment(name="t", salt="s", weights={"a": 1, "b": 3})
    for i in range(2_000):
        if HALF.assign(f"u{i}") == "b":
            assert more_b.assign(f"u{i}") == "b"


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
        ("name = ", "not TOML"),
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

    assert Experiment.load(None, models=["logistic", "xgboost"]).assign("u") == "xgboost"
    assert Experiment.load(None, models=["mine"]).assign("u") == "mine"
