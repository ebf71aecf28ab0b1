"""Prediction ids.

Law: a text is taken for an id exactly where its signature was made with one of the keys, and
nothing but ``InvalidPredictionIdError`` is raised for any other.
"""

import base64
import hashlib

from fuzz.damage import Choices
from service.prediction.prediction_id import InvalidPredictionIdError, PredictionId, Signer

_KEY, _OTHER = b"k" * 32, b"o" * 32
_SIGNED = 16
_SCORES, _CELLS = [0.25, 0.5], [3, None]
_GENUINE = Signer(_KEY, origin=7).sign(
    "xgboost", "20261123T000000Z-abcdef", _SCORES, _CELLS, experiment=9, milliseconds=1_700_000_000
)


def seeds() -> list[bytes]:
    """Genuine ids, and what an earlier release or another key would have signed."""
    content = _decoded(_GENUINE[0])[_SIGNED:]
    return [
        *(b"\x00" + text.encode() for text in _GENUINE),
        *(b"\x01" + bytes([at, 1]) for at in (0, 16, 17, 60, 90)),
        *(b"\x02" + text for text in (content, content[:20], b"")),
    ]


def check(data: bytes) -> None:
    """Decode a text, a genuine id with changed letters, or contents that were signed."""
    choices = Choices(data)
    match choices.below(3):
        case 0:
            text = choices.rest.decode("utf-8", "surrogateescape")
        case 1:
            text = _changed(_GENUINE[0], choices)
        case _:
            text = _signed(choices.rest, _KEY)
            # Signed with a key that is none of ours the same is refused.
            assert _taken(_signed(choices.rest, _OTHER)) is None
    identity = _taken(text)
    if identity is not None:
        raw = _decoded(text)
        assert raw[:_SIGNED] == _signature(raw[_SIGNED:], _KEY)


def _taken(text: str) -> PredictionId | None:
    try:
        return PredictionId.verified(text, _KEY).identity
    except InvalidPredictionIdError:
        return None


def _changed(text: str, choices: Choices) -> str:
    letters = bytearray(text.encode())
    for _ in range(1 + choices.below(4)):
        letters[choices.below(len(letters))] = choices.below(256)
    return letters.decode("latin-1")


def _signed(content: bytes, key: bytes) -> str:
    return base64.urlsafe_b64encode(_signature(content, key) + content).rstrip(b"=").decode()


def _signature(content: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(content, key=key, digest_size=_SIGNED).digest()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
