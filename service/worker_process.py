"""What a worker arranges with its operating system and its interpreter."""

import gc
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH_SECONDS = 0.0005
_OPEN_FILES = 4096
"""More than a worker's connections, those to the state store and its files together."""


def end_with_parent() -> None:
    """Stop this process in good order once the process that spawned it is gone.

    A launcher that is killed cannot stop its workers: they would keep the port and count into an
    epoch that nobody reads any more.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watch-launcher", daemon=True).start()


class Terminal:
    """The terminal that this process was started from, where there is one.

    When it is closed the system sends ``SIGHUP``, which an operator sends for a release.
    """

    def __init__(self) -> None:
        self._was_there = os.isatty(0)

    def has_gone(self) -> bool:
        """Tell whether it was closed since."""
        return self._was_there and not os.isatty(0)


@contextmanager
def interrupt_waits() -> Iterator[None]:
    """Have Ctrl-C wait until the block is left.

    Raised in the callback of a garbage collection, of which there are many while a worker is built,
    it would be reported and lost.

    Raises:
        KeyboardInterrupt: It came meanwhile.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def allow_open_files() -> None:
    """Let this process and its children have as many files open as a worker may come to need.

    What is usual, 1,024, is from times of ``select``; as many connections as a worker takes in
    would leave none for its state. What the system allows at most stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def favour_event_loop() -> None:
    """Keep the threads that read metrics from holding up predictions; called once all is loaded.

    Without this a snapshot on another thread makes the loop late by 30 ms now and then: a thread
    keeps the interpreter for 5 ms at a time, and a full garbage collection walks every object that
    the imports left. ``benchmarks/monitoring_cost.py`` measures it.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
