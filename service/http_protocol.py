"""What uvicorn leaves open: how long a client may take, and how much it may send before it asks.

Only who dawdles notices: every few seconds a connection looks at itself, and a request that is sent
and read in time costs one comparison more.
"""

import asyncio
from typing import Any, ClassVar, NamedTuple

from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics"})
"""An overloaded service must not look like a dead one."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a request line with its headers."""
MAX_CONNECTIONS = 1000
"""Of one worker; each takes a file descriptor."""
_MORE_FOR_OPERATIONS = 32
"""Connections over these that may only ask what is always answered: the others may be taken."""
_OPERATIONS = tuple(f"GET {path}".encode() for path in ALWAYS_ANSWERED)
_TOO_MANY = b"503 Service Unavailable\r\nretry-after: 1"
_ANSWER = "answer"


class Patience(NamedTuple):
    """Seconds that a client may take for one step."""

    head: float = 10.0
    """To send the headers, from connecting or from the end of the request before."""
    body: float = 60.0
    """To send the body."""
    answer: float = 60.0
    """To read an answer that waits for it."""
    looks_every: float = 2.5


class _Step(NamedTuple):
    """What a client is to do now."""

    what: str
    request: object
    """Which request it is about."""
    seconds: float
    """How long it may take."""

    def goes_on(self, other: "_Step | None") -> bool:
        """Tell whether it is still the same step."""
        return other is not None and self.what == other.what and self.request is other.request


class BoundedHttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with bounds on time, on the head of a request and on connections."""

    patience: ClassVar = Patience()

    def __init__(self, *uvicorns: Any, **own: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(*uvicorns, **own)
        self._head_bytes = 0
        self._step: _Step | None = None
        self._since = 0.0
        self._looking: asyncio.TimerHandle | None = None
        self._for_operations = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in a connection, unless there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        excess = len(self.connections) - MAX_CONNECTIONS
        self._for_operations = excess > 0
        if excess > _MORE_FOR_OPERATIONS:
            self._refuse(_TOO_MANY)
        else:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what the client sends."""
        if self._for_operations and not data.startswith(_OPERATIONS):
            self._refuse(_TOO_MANY)
            return
        super().data_received(data)
        if self._awaits_head():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
        else:
            self._head_bytes = 0

    def _awaits_head(self) -> bool:
        """Tell whether the headers of a request have begun and are not complete."""
        scope, cycle = self._places()
        return scope is not None and (cycle is None or cycle.scope is not scope)

    def _look(self) -> None:
        now, step = self.loop.time(), self._awaited()
        if step is None or not step.goes_on(self._step):
            self._since = now
        elif now - self._since > step.seconds:
            if step.what == _ANSWER:
                self.transport.abort()
            else:
                self._refuse(b"408 Request Timeout")
            return
        self._step = step
        self._looking = self.loop.call_later(self.patience.looks_every, self._look)

    def _awaited(self) -> _Step | None:
        scope, cycle = self._places()
        if cycle is None or self._awaits_head():
            return _Step("head", scope, self.patience.head)
        if cycle.more_body and not cycle.response_complete:
            return _Step("body", cycle, self.patience.body)
        if self.flow.write_paused:
            return _Step(_ANSWER, cycle, self.patience.answer)
        return None

    def _places(self) -> tuple[HTTPScope | None, RequestResponseCycle | None]:
        # Uvicorn declares neither as what it is before the first request: None.
        return self.scope, self.cycle

    def _refuse(self, status_and_headers: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                % status_and_headers
            )
            self.transport.close()
