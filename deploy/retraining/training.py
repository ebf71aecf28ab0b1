"""Runs the training command: one at a time on this host, and not again too soon."""

import fcntl
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO

from deploy.retraining.challenge import Challenge, ChallengeError, ExperimentRunningError

MODELS_VARIABLE = "RETRAIN_MODELS"
"""Tells the command which models drifted, separated by commas."""
CHALLENGERS = "{challengers}"
"""Stands in the command for what is to be trained under which name, such as ``a=a_challenger``."""

_LOGGER = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a request to train."""

    STARTED = "started"
    BUSY = "busy"
    """A training is running, perhaps of another receiver."""
    COOLING_DOWN = "cooling down"
    NOTHING_TO_DO = "nothing to do"
    EXPERIMENT_RUNNING = "an experiment is running"
    """It would be overwritten; it has to be decided first."""
    IMPOSSIBLE = "impossible; the log says why"


class Training:
    """A command that trains, and the file that says when it last began.

    The file is locked while the command runs, so that a second receiver knows. The lock ends with
    this process, but what the file says does not: it is still too soon then.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        lock: Path,
        cooldown_seconds: float,
        timeout_seconds: float,
        challenge: Challenge | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._command = tuple(command)
        self._lock = lock
        self._cooldown_seconds = cooldown_seconds
        self._timeout_seconds = timeout_seconds
        self._challenge = challenge
        self._clock = clock
        self._running: threading.Thread | None = None

    def request(self, models: Collection[str]) -> Outcome:
        """Begin to train because these models drifted, unless that would be too much."""
        challengers: Mapping[str, str] = {}
        if models and self._challenge is not None:
            try:
                challengers = self._challenge.challengers(models)
            except ExperimentRunningError as running:
                _LOGGER.info("no training: %s", running)
                return Outcome.EXPERIMENT_RUNNING
            except ChallengeError as problem:
                _LOGGER.warning("no training: %s", problem)
                return Outcome.IMPOSSIBLE
            models = challengers.keys()
        if not models:
            return Outcome.NOTHING_TO_DO
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        file = self._lock.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return Outcome.BUSY
        # Of a time to come, as after a clock that was set back, nothing is known.
        if 0 <= self._clock() - _began(file) < self._cooldown_seconds:
            file.close()
            return Outcome.COOLING_DOWN
        file.truncate(0)
        file.write(f"{self._clock()!r}\n")
        file.flush()
        self._running = threading.Thread(target=self._run, args=(sorted(models), challengers, file))
        self._running.start()
        return Outcome.STARTED

    def wait(self) -> None:
        """Return when no training of this receiver runs."""
        if self._running is not None:
            self._running.join()

    def _run(self, models: Sequence[str], challengers: Mapping[str, str], lock: IO[str]) -> None:
        named = ",".join(f"{model}={name}" for model, name in challengers.items())
        command = [part.replace(CHALLENGERS, named) for part in self._command]
        with lock:
            _LOGGER.info("training, because of drift of %s", ", ".join(models))
            try:
                # No shell: what is run was said at the start, and labels are data.
                done = subprocess.run(  # noqa: S603
                    command,
                    env={**os.environ, MODELS_VARIABLE: ",".join(models)},
                    stdin=subprocess.DEVNULL,
                    timeout=self._timeout_seconds,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired):
                _LOGGER.exception("the training did not end well")
                return
            level = logging.ERROR if done.returncode else logging.INFO
            _LOGGER.log(level, "the training ended with exit code %d", done.returncode)
            if self._challenge is not None and not done.returncode:
                self._begin(self._challenge, models)

    def _begin(self, challenge: Challenge, models: Sequence[str]) -> None:
        try:
            challenge.begin(models)
        except (ChallengeError, OSError):
            _LOGGER.exception("the challenger is trained, and does not compete")


def _began(file: IO[str]) -> float:
    file.seek(0)
    try:
        return float(file.read())
    except ValueError:
        return float("-inf")
