"""The id of an answer: signed and self-contained, so that any replica can take the click for it."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from struct import Struct, iter_unpack
from typing import NamedTuple

from service.monitoring.cells import CELLS

_FORMAT = 2
_FIXED = Struct(">BQd6sIIBB")
_NO_CELL = CELLS
_NONCE_BYTES = 6
_SIGNATURE_BYTES = 16


class InvalidPredictionIdError(ValueError):
    """The id was not made with this key, or was damaged on the way."""


class UnknownPredictionIdError(InvalidPredictionIdError):
    """The text is no prediction id of this release at all."""


class PredictionId(NamedTuple):
    """What an id says about its prediction."""

    model: str
    version: str
    score: float
    """Predicted CTR as answered."""
    milliseconds: int
    """When it was answered, Unix time."""
    nonce: bytes
    """Six random bytes: two equal predictions have two ids."""
    origin: int
    """Which instance answered, 32 bits; see :func:`origin_of`."""
    experiment: int
    """Fingerprint of the experiment whose assignment chose the model, 32 bits."""
    cell: int | None
    """The user's cell in that experiment; None where no experiment chose the model."""

    def signed(self, key: bytes) -> str:
        """Encode for the client."""
        model = self.model.encode()
        content = _FIXED.pack(
            _FORMAT,
            self.milliseconds,
            self.score,
            self.nonce,
            self.origin,
            self.experiment,
            _NO_CELL if self.cell is None else self.cell,
            len(model),
        )
        return _text(content + model + self.version.encode(), _keyed(key))

    @classmethod
    def verified(cls, text: str, *keys: bytes) -> "VerifiedId":
        """Decode what :meth:`signed` made with one of ``keys``.

        Raises:
            UnknownPredictionIdError: It is no id, or one that an earlier release made.
            InvalidPredictionIdError: The signature does not fit.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise UnknownPredictionIdError("not a prediction id") from error
        signature, content = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if len(content) < _FIXED.size:
            raise UnknownPredictionIdError("not a prediction id")
        fits = (hmac.compare_digest(signature, _signature(content, _keyed(key))) for key in keys)
        if not any(fits):
            raise InvalidPredictionIdError("the signature does not fit")
        form, milliseconds, score, nonce, origin, experiment, cell, model_bytes = (
            _FIXED.unpack_from(content)
        )
        if form != _FORMAT:
            raise UnknownPredictionIdError(f"format {form} is not {_FORMAT}")
        names = content[_FIXED.size :]
        try:
            model, version = names[:model_bytes].decode(), names[model_bytes:].decode()
        except UnicodeDecodeError as error:  # whoever shares the key has signed something else
            raise UnknownPredictionIdError("the names in it are no text") from error
        identity = cls(
            model=model,
            version=version,
            score=score,
            milliseconds=milliseconds,
            nonce=nonce,
            origin=origin,
            experiment=experiment,
            cell=None if cell == _NO_CELL else cell,
        )
        return VerifiedId(identity, signature)


class Signer:
    """Makes the ids of one instance, all those of a turn of the event loop at once.

    Args:
        key: The one of now, from :mod:`service.prediction.signing_keys`.
        origin: From :func:`origin_of`.
    """

    def __init__(self, key: bytes, *, origin: int) -> None:
        self._keyed = _keyed(key)
        self._origin = origin

    def sign(
        self,
        model: str,
        version: str,
        scores: Sequence[float],
        cells: Sequence[int | None],
        *,
        experiment: int,
        milliseconds: int,
    ) -> list[str]:
        """Make the id of each score of a model version, as :meth:`PredictionId.signed` does."""
        name = model.encode()
        names = name + version.encode()
        length = _SIGNATURE_BYTES + _FIXED.size + len(names)
        # Three bytes make four letters: filled up to threes, all are encoded in one go.
        filling = bytes(-length % 3)
        nonces = iter_unpack(f"{_NONCE_BYTES}s", secrets.token_bytes(_NONCE_BYTES * len(scores)))
        pack, origin, keyed = _FIXED.pack, self._origin, self._keyed
        rows: list[bytes] = []
        for score, cell, (nonce,) in zip(scores, cells, nonces, strict=True):
            place = _NO_CELL if cell is None else cell
            fixed = pack(_FORMAT, milliseconds, score, nonce, origin, experiment, place, len(name))
            content = fixed + names
            # As in _signature, without calling it a thousand times for a batch.
            state = keyed.copy()
            state.update(content)
            rows += state.digest(), content, filling
        letters = base64.urlsafe_b64encode(b"".join(rows)).decode()
        letters_each, width = -(-length * 4 // 3), (length + len(filling)) // 3 * 4
        return [letters[at : at + letters_each] for at in range(0, len(letters), width)]


class VerifiedId(NamedTuple):
    """An id that was made with one of our keys."""

    identity: PredictionId
    signature: bytes
    """Unique to the prediction: one text or another that stands for the same id has the same."""


def origin_of(instance: str) -> int:
    """Shorten the name of an instance to the 32 bits that its prediction ids carry."""
    return int.from_bytes(hashlib.blake2b(instance.encode(), digest_size=4).digest())


def _keyed(key: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(key=key, digest_size=_SIGNATURE_BYTES)


def _signature(content: bytes, keyed: hashlib.blake2b) -> bytes:
    # To copy a state that has taken in the key costs less than to take it in.
    state = keyed.copy()
    state.update(content)
    return state.digest()


def _text(content: bytes, keyed: hashlib.blake2b) -> str:
    signed = _signature(content, keyed) + content
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
