"""A sender that does not wait for answers: requests come at a rate, whatever becomes of them."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import numpy as np
import uvloop

_TICK_SECONDS = 0.001
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_LAST_ANSWERS_SECONDS = 10.0


@dataclass
class Sent:
    """What was offered in a time, and what became of it."""

    seconds: float
    offered: int = 0
    """Requests whose time had come."""
    unsent: int = 0
    """Those of them for which every connection still waited for an answer."""
    latencies: dict[int, list[float]] = field(default_factory=dict)
    """Seconds from sending to the end of the answer, by status."""
    finished: dict[int, list[float]] = field(default_factory=dict)
    """When they were answered, in seconds since the beginning, by status."""
    lost: int = 0
    """Requests whose connection was closed, or that had no answer in time."""
    without_retry_after: int = 0
    """Answers 503 that do not say when to come again."""

    def count(self, status: int) -> int:
        """Give the number of answers with this status."""
        return len(self.latencies.get(status, ()))

    def per_second(self, status: int) -> float:
        """Give the rate of these answers while requests were offered."""
        within = sum(at < self.seconds for at in self.finished.get(status, ()))
        return within / self.seconds

    def quantile(self, status: int, share: float) -> float:
        """Give a quantile of their latency in seconds."""
        return float(np.quantile(self.latencies[status], share))


def send(
    address: str, request: bytes, *, connections: int, seconds: float, per_second: float | None
) -> Sent:
    """Send one request again and again.

    Args:
        address: Host and port.
        request: All of it, head and body.
        connections: How many there are; each has one request at a time.
        seconds: For how long requests are sent; answers are waited for a little longer.
        per_second: How many requests come; None sends the next on each answer: a closed loop.
    """
    return uvloop.run(_send(address, request, connections, seconds, per_second))


async def _send(
    address: str, request: bytes, connections: int, seconds: float, per_second: float | None
) -> Sent:
    host, _, port = address.partition(":")
    loop = asyncio.get_running_loop()
    sending = _Sending(request, Sent(seconds), closed=per_second is None)
    senders: list[_Sender] = []
    for _ in range(connections):
        _, sender = await loop.create_connection(lambda: _Sender(sending), host, int(port))
        senders.append(sender)
    sending.began = time.perf_counter()
    sending.until = sending.began + seconds
    if per_second is None:
        for sender in senders:
            sender.ask()
        await asyncio.sleep(seconds)
    else:
        sending.free.extend(senders)
        await _offer(sending, per_second)
    await _last_answers(senders)
    for sender in senders:
        sender.close()
    return sending.sent


async def _offer(sending: "_Sending", per_second: float) -> None:
    sent = sending.sent
    while (now := time.perf_counter()) < sending.until:
        due = int((now - sending.began) * per_second) - sent.offered
        sent.offered += due
        asked = min(due, len(sending.free))
        sent.unsent += due - asked
        for _ in range(asked):
            # In rotation: a server closes what has been idle for seconds.
            sending.free.popleft().ask()
        await asyncio.sleep(_TICK_SECONDS)


async def _last_answers(senders: Sequence["_Sender"]) -> None:
    for _ in range(round(_LAST_ANSWERS_SECONDS / _TICK_SECONDS)):
        if not any(sender.waits for sender in senders):
            return
        await asyncio.sleep(_TICK_SECONDS)


@dataclass
class _Sending:
    """What the connections of one run share."""

    request: bytes
    sent: Sent
    closed: bool
    began: float = 0.0
    until: float = 0.0
    free: deque["_Sender"] = field(default_factory=deque)


class _Sender(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, sending: _Sending) -> None:
        self._sending = sending
        self._asked = 0.0
        self._answer = b""
        self._closing = False
        self.waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self) -> None:
        """Send the request."""
        self.waits, self._asked = True, time.perf_counter()
        self._transport.write(self._sending.request)

    def data_received(self, data: bytes) -> None:
        """Take in a part of an answer."""
        answer = self._answer + data if self._answer else data
        end = answer.find(_HEAD_END)
        if end < 0 or len(answer) < end + len(_HEAD_END) + _length(answer, end):
            self._answer = answer
            return
        self._answer, self.waits = b"", False
        self._answered(answer, end)

    def _answered(self, answer: bytes, end: int) -> None:
        now, sending = time.perf_counter(), self._sending
        status = int(answer[9:12])
        sending.sent.latencies.setdefault(status, []).append(now - self._asked)
        sending.sent.finished.setdefault(status, []).append(now - sending.began)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            sending.sent.without_retry_after += b"retry-after:" not in answer[:end].lower()
        if not sending.closed:
            sending.free.append(self)
        elif now < sending.until:
            sending.sent.offered += 1
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Count a request without an answer."""
        if self in self._sending.free:
            self._sending.free.remove(self)
        self._sending.sent.lost += self.waits
        self.waits = False

    def close(self) -> None:
        """End the connection."""
        if not self._transport.is_closing():
            self._transport.close()


def _length(answer: bytes, end: int) -> int:
    start = answer.find(_LENGTH, 0, end) + len(_LENGTH)
    return int(answer[start : answer.find(b"\r\n", start)])
