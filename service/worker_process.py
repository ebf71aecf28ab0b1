"""What a worker arranges with its operating system and its interpreter."""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading

_SWITCH_SECONDS = 0.0005


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


def give_memory_back() -> None:
    """Return to the system what loading the models has used and freed.

    The allocator would keep it for later, and until the next release nobody needs so much at once.
    """
    gc.collect()
    # Of glibc: where the system has another allocator, nothing is returned.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def favour_event_loop() -> None:
    """Keep the threads that read metrics from holding up predictions; called once all is loaded.

    Without this a snapshot on another thread makes the loop late by 30 ms now and then: a thread
    keeps the interpreter for 5 ms at a time, and a full garbage collection walks every object that
    the imports left. ``benchmarks/monitoring_cost.py`` measures it.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
