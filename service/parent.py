"""A worker does not outlive its launcher."""

import multiprocessing
import os
import signal
import threading


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
