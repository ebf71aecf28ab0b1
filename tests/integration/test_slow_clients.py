"""Clients that take too long over a step are closed; whoever is in time notices nothing."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service import http_protocol
from service.http_protocol import BoundedHttpProtocol, Patience

LARGE = b"x" * 50_000_000
"""More than the buffers of two sockets hold."""


class Impatient(BoundedHttpProtocol):
    patience = Patience(head=0.4, body=0.4, answer=0.4, looks_every=0.05)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body; answer the path with little or much, after a second where it says so."""
    if scope["type"] != "http":
        return
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.disconnect":
        return
    if scope["path"] == "/thinks":
        await asyncio.sleep(1.0)
    body = LARGE if scope["path"] == "/large" else b"done"
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Impatient, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=20) as opened:
        yield opened


def said(client: socket.socket) -> bytes:
    """All that comes until it is closed."""
    parts = []
    while part := client.recv(1_000_000):
        parts.append(part)
    return b"".join(parts)


def test_a_connection_that_says_nothing_is_closed(client: socket.socket) -> None:
    assert said(client).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_is_never_complete_is_closed(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")

    assert said(client).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_drips_is_closed_all_the_same(client: socket.socket) -> None:
    client.settimeout(0.05)
    answer = b""
    client.sendall(b"GET / HTTP/1.1\r\n")
    for _ in range(200):
        client.sendall(b"x: y\r\n")
        try:
            answer = client.recv(1000)
        except TimeoutError:
            continue
        break

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_never_complete_is_closed(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")

    assert said(client).startswith(b"HTTP/1.1 408 ")


def test_a_second_request_gets_its_own_time(client: socket.socket) -> None:
    for _ in range(20):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"done"):
            answer += client.recv(1000)
    client.sendall(b"GET / HTTP/1.1\r\n")

    assert said(client).startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_is_not_read_is_given_up(client: socket.socket) -> None:
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    waiting = threading.Event()
    waiting.wait(1.0)  # reading nothing is what is tried here

    assert len(said(client)) < len(LARGE)


def test_an_answer_that_is_read_comes_whole(client: socket.socket) -> None:
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert said(client).endswith(LARGE[:1000])


def test_a_service_that_thinks_long_is_no_slow_client(client: socket.socket) -> None:
    client.sendall(b"GET /thinks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert said(client).endswith(b"done")


def test_connections_beyond_the_bound_are_told_to_come_again(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", 0)
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(b"GET /thinks HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = said(client)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after" in answer


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_connections_beyond_the_bound_may_ask_how_the_service_is(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", 0)
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = said(client)

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_connections_far_beyond_the_bound_are_closed_at_once(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", -1000)
    with socket.create_connection(address, timeout=20) as client:
        assert said(client).startswith(b"HTTP/1.1 503 ")
