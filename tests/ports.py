"""Ports for servers that are started later."""

import random
import socket

# Below what the system gives to outgoing connections: one of those could take the port meanwhile.
_RANGE = range(20_000, 32_000)


def free_port() -> int:
    """A port of the loopback that nobody listens on, and that no connection will be given."""
    while True:
        port = random.SystemRandom().choice(_RANGE)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
