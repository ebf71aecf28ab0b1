"""Keeps the bridge to MLflow running beside the service, in a process of its own."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_STEADY_SECONDS = 60.0
"""A bridge that lived so long is started again at once."""
_LAST_WORDS_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 1.0
_SEARCHED = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]

_LOGGER = logging.getLogger(__name__)


@contextmanager
def bridge_beside() -> Iterator[None]:
    """Run the bridge, and again whenever it ends, until the block is left.

    It ends with its standard input, so that it does not outlive a launcher that was killed.
    """
    stopping = threading.Event()
    keeper = threading.Thread(target=_keep_running, args=(stopping,), name="bridge")
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        keeper.join()


def _keep_running(stopping: threading.Event) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while not stopping.is_set():
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "run", "--end-with-stdin"],
            stdin=subprocess.PIPE,
            # Found also where the service was started from another folder.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_SEARCHED)},
            # Ctrl-C is for the launcher, which then ends the bridge.
            start_new_session=True,
        )
        lived = threading.Event()
        timer = threading.Timer(_STEADY_SECONDS, lived.set)
        timer.start()
        _wait(process, stopping)
        timer.cancel()
        if stopping.is_set():
            return
        pause = _FIRST_PAUSE_SECONDS if lived.is_set() else min(2 * pause, _LONGEST_PAUSE_SECONDS)
        _LOGGER.warning(
            "the bridge to MLflow ended with status %d; it starts again in %g s, predictions go on",
            *(process.returncode, pause),
        )
        stopping.wait(pause)


def _wait(process: subprocess.Popen[bytes], stopping: threading.Event) -> None:
    while not stopping.wait(_LOOK_AGAIN_SECONDS):
        if process.poll() is not None:
            return
    try:
        process.communicate(timeout=_LAST_WORDS_SECONDS)  # Closes its standard input.
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
