"""One name for each HTTP request: in its answer, in errors, and in what is logged meanwhile.

It is made only when somebody looks at it: a plain prediction is answered in the time that making
some ids would take.
"""

import re
import secrets
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

HEADER = b"x-request-id"
_GIVEN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:=+/-]{0,127}")
"""What gateways send: UUIDs, and ids of traces. Nothing that a log or a page could misread."""
_KEY = "ctr.request_id"
_RANDOM_BYTES = 8

Request = MutableMapping[str, Any]
"""What a request keeps its id in: its scope, as ASGI calls it."""

_handled: ContextVar[Request | None] = ContextVar("request", default=None)


def accepted(given: bytes) -> str | None:
    """Give the client's id as text, or None where it is no short token."""
    return given.decode("ascii") if _GIVEN.fullmatch(given) else None


def handle(request: Request, given: str | None = None) -> None:
    """Let what this task does from now on belong to a request, with the client's own id or not."""
    if given is not None:
        request[_KEY] = given
    _handled.set(request)


@contextmanager
def handling(request: Request | None) -> Iterator[None]:
    """Let what is done within the block belong to a request, or to none."""
    token = _handled.set(request)
    try:
        yield
    finally:
        _handled.reset(token)


def current_request_id() -> str | None:
    """Give the id of the request that is being handled, where one is."""
    request = _handled.get()
    if request is None:
        return None
    found: str | None = request.get(_KEY)
    if found is None:
        found = request[_KEY] = secrets.token_hex(_RANDOM_BYTES)
    return found
