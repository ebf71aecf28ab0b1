"""Reads valid bodies in a seventh of the time that pydantic takes.

The form of a body is written down once, as the pydantic model of the documented endpoint. From its
fields msgspec gets the same types and limits. What msgspec accepts, pydantic accepts as the same
values, which a contract test tries; what it does not accept is left to pydantic, whose answer is
the documented one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel

from service.api.schemas import MAX_BATCH, AdRequestBody
from service.prediction.ad_request import AdRequest

UNUSUAL = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for a body that is not valid, or is so in an unusual way: pydantic is to judge."""

# Without the call of a Python function for each.
_ad_request: Callable[[Iterable[str | int]], AdRequest] = partial(tuple.__new__, AdRequest)


def _struct_of(model: type[BaseModel]) -> type[msgspec.Struct]:
    fields = []
    for name in AdRequest._fields:
        field = model.model_fields[name]
        limits: dict[str, Any] = {}
        for limit in field.metadata:  # such as MinLen(min_length=1): msgspec uses the same words
            limits |= asdict(limit)
        fields.append((name, Annotated[field.annotation, msgspec.Meta(**limits)]))
    return msgspec.defstruct(model.__name__, fields, forbid_unknown_fields=True, gc=False)


_AdRequest = _struct_of(AdRequestBody)
_Batch = msgspec.defstruct(
    "_Batch",
    [("requests", Annotated[list[_AdRequest], msgspec.Meta(min_length=1, max_length=MAX_BATCH)])],  # type: ignore[valid-type]
    forbid_unknown_fields=True,
)
_decode_one: Callable[[bytes], Any] = msgspec.json.Decoder(_AdRequest).decode
_decode_batch: Callable[[bytes], Any] = msgspec.json.Decoder(_Batch).decode


def read_one(body: bytes) -> Sequence[AdRequest]:
    """Read the body of one ad request.

    Raises:
        UNUSUAL: It is left to pydantic.
    """
    return (_ad_request(msgspec.structs.astuple(_decode_one(body))),)


def read_batch(body: bytes) -> Sequence[AdRequest]:
    """Read the body of a batch.

    Raises:
        UNUSUAL: It is left to pydantic.
    """
    return list(map(_ad_request, map(msgspec.structs.astuple, _decode_batch(body).requests)))
