"""When the jobs run; the only module that imports APScheduler.

A job works out what is missing instead of trusting to be called once for each window, so a call
that comes late, or not at all, loses nothing.
"""

import logging
from collections.abc import Callable, Mapping

from apscheduler.schedulers.background import BackgroundScheduler

from service.state.errors import StateError

_LOGGER = logging.getLogger(__name__)


def scheduler_of(jobs: Mapping[str, tuple[Callable[[], object], float]]) -> BackgroundScheduler:
    """Build a scheduler; each job, with its seconds between two runs, runs one at a time."""
    # It tells of every run it skips because the last one is not over; that is how it is meant.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler = BackgroundScheduler(
        timezone="UTC",
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    for name, (job, seconds) in jobs.items():
        scheduler.add_job(_Steady(name, job), "interval", seconds=seconds, id=name)
    return scheduler


class _Steady:
    """A job that goes on after an error, and tells of a streak of them once."""

    def __init__(self, name: str, job: Callable[[], object]) -> None:
        self._name = name
        self._job = job
        self._failing = False

    def __call__(self) -> None:
        try:
            self._job()
        except Exception as error:
            if not self._failing and isinstance(error, StateError):
                _LOGGER.warning("%s waits: %s", self._name, error)
            elif not self._failing:
                _LOGGER.exception("%s failed; it is tried again", self._name)
            self._failing = True
        else:
            if self._failing:
                _LOGGER.info("%s works again", self._name)
            self._failing = False
