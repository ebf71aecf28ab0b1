import base64
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.prediction.prediction_id import (
    InvalidPredictionIdError,
    PredictionId,
    Signer,
    UnknownPredictionIdError,
)

KEY = b"k" * 32
ID = PredictionId(
    model="xgboost",
    version="20261123T014500Z-3fa29c",
    score=0.0234,
    milliseconds=1_764_000_000_123,
    nonce=b"abcdef",
    origin=1,
    experiment=2**32 - 1,
    cell=63,
)


@given(
    st.builds(
        PredictionId,
        model=st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True),
        version=st.just("v1"),
        score=st.floats(0, 1),
        milliseconds=st.integers(0, 2**63),
        nonce=st.binary(min_size=6, max_size=6),
        origin=st.integers(0, 2**32 - 1),
        experiment=st.integers(0, 2**32 - 1),
        cell=st.none() | st.integers(0, 63),
    )
)
def test_an_id_says_what_was_signed(identity: PredictionId) -> None:
    assert PredictionId.verified(identity.signed(KEY), KEY).identity == identity


def test_an_id_of_an_earlier_format_is_refused() -> None:
    content = struct.pack(">BQd6sB", 1, ID.milliseconds, ID.score, ID.nonce, 1) + b"m" * 40
    signature = hashlib.blake2b(content, key=KEY, digest_size=16).digest()
    text = base64.urlsafe_b64encode(signature + content).decode().rstrip("=")

    with pytest.raises(InvalidPredictionIdError, match="format 1"):
        PredictionId.verified(text, KEY)


@pytest.mark.parametrize("names", [b"xgboost\xff", b"\xff" * 40])
def test_what_somebody_else_has_signed_with_the_key_is_no_id(names: bytes) -> None:
    content = struct.pack(">BQd6sIIBB", 2, 1, 0.5, ID.nonce, 1, 1, 1, 7) + names
    signature = hashlib.blake2b(content, key=KEY, digest_size=16).digest()
    text = base64.urlsafe_b64encode(signature + content).decode().rstrip("=")

    with pytest.raises(UnknownPredictionIdError, match="no text"):
        PredictionId.verified(text, KEY)


def test_changing_any_byte_is_noticed() -> None:
    raw = base64.urlsafe_b64decode(ID.signed(KEY) + "==")
    for position in range(len(raw)):
        forged = bytearray(raw)
        forged[position] ^= 1
        text = base64.urlsafe_b64encode(forged).decode().rstrip("=")
        with pytest.raises(InvalidPredictionIdError):
            PredictionId.verified(text, KEY)


def test_another_key_is_noticed() -> None:
    with pytest.raises(InvalidPredictionIdError):
        PredictionId.verified(ID.signed(KEY), b"other" * 6)


@given(st.text(max_size=200))
def test_no_text_is_taken_for_an_id(text: str) -> None:
    with pytest.raises(InvalidPredictionIdError):
        PredictionId.verified(text, KEY)


def test_an_id_is_safe_in_a_url() -> None:
    assert set(ID.signed(KEY)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@given(
    st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True),
    st.lists(st.tuples(st.floats(0, 1), st.none() | st.integers(0, 63)), min_size=1, max_size=20),
    st.integers(0, 2**32 - 1),
)
def test_ids_made_together_are_those_made_one_by_one(
    model: str, rows: list[tuple[float, int | None]], experiment: int
) -> None:
    scores, cells = zip(*rows, strict=True)
    texts = Signer(KEY, origin=7).sign(
        model, ID.version, scores, cells, experiment=experiment, milliseconds=ID.milliseconds
    )
    identities = [PredictionId.verified(text, KEY).identity for text in texts]

    assert [identity.signed(KEY) for identity in identities] == texts
    assert len({identity.nonce for identity in identities}) == len(rows)
    assert [identity._replace(nonce=b"") for identity in identities] == [
        PredictionId(model, ID.version, score, ID.milliseconds, b"", 7, experiment, cell)
        for score, cell in rows
    ]
