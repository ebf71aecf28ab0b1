"""Ctrl-C as something to be waited for, so that nothing is cut off half-way."""

import signal
import threading

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedDemoError(Exception):
    """Somebody wants the demo to end."""


class Interruption:
    """Whether somebody wants the demo to end."""

    def __init__(self) -> None:
        self._wanted = threading.Event()

    def listen(self) -> None:
        """Hear Ctrl-C, a request to end, and the closing of the terminal from now on."""
        for number in _NUMBERS:
            signal.signal(number, lambda *_: self._wanted.set())

    def wait(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            InterruptedDemoError: The demo is to end.
        """
        if self._wanted.wait(seconds):
            raise InterruptedDemoError
