"""The text of answers that are made thousands of times a second.

They are the JSON of ``PredictionBody`` and ``BatchAnswerBody``, written in a fiftieth of the time
that building and serialising such models takes; a contract test compares them.
"""

from collections.abc import Sequence

import msgspec

from service.prediction.turn import Prediction

JSON = "application/json"

_encode = msgspec.json.Encoder().encode


class _One(Prediction, frozen=True, gc=False):
    latency_ms: float


class _Batch(msgspec.Struct, frozen=True, gc=False):
    predictions: Sequence[Prediction]
    latency_ms: float


def rendered_one(predictions: Sequence[Prediction], latency_ms: float) -> bytes:
    """Write the answer to one ad request."""
    of = predictions[0]
    return _encode(
        _One(of.prediction_id, of.predicted_ctr, of.model_name, of.model_version, latency_ms)
    )


def rendered_batch(predictions: Sequence[Prediction], latency_ms: float) -> bytes:
    """Write the answer to a batch."""
    return _encode(_Batch(predictions, latency_ms))
