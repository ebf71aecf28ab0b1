"""The port to the place where the history is kept, and how it fails."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from service.monitoring.tracking import Point, TrackedRun

MODEL_FOLDER = "model"
"""Where the files of a release are among a run's."""


class TrackingError(Exception):
    """Something could not be told; the message says why, and what to do."""


class TrackingUnavailableError(TrackingError):
    """Nothing can be told now; the same may work later."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
        """A word for a metric's label, such as ``unreachable``."""


class RunGoneError(TrackingError):
    """The run does not exist any more."""


class RefusedError(TrackingError):
    """What was told is refused and will be refused again."""


class Records(NamedTuple):
    """What is there of an experiment."""

    experiment_id: str | None
    """None where there is no such experiment."""
    deleted: bool = False
    runs: int = 0
    """Those with a run key."""
    complete: bool = True
    """Whether all runs were looked at, not only the newest."""
    doubled: Mapping[str, Sequence[str]] = {}
    """Keys with several runs, and their ids, the oldest first."""


class Tracking(Protocol):
    """A store of runs.

    Telling the same point twice is telling it once.

    Raises:
        TrackingUnavailableError: In every method, when the store does not answer in time.
    """

    @property
    def experiment_id(self) -> str | None:
        """Which experiment it is, once it was reached."""

    def connect(self) -> str:
        """Find or create the experiment.

        Returns:
            What tells this store and experiment from any other.
        """

    def find_or_create(self, run: TrackedRun, parent_id: str | None) -> str:
        """Give the id of the run with this key, whoever created it; else create it."""

    def tell(self, run_id: str, points: Sequence[Point], tags: Mapping[str, str]) -> None:
        """Add points and set tags.

        Raises:
            RunGoneError: The run does not exist any more.
            RefusedError: A point or tag is refused; none of them was taken.
        """

    def tell_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Set parameters of a run; the same again changes nothing.

        Raises:
            RunGoneError: The run does not exist any more.
            RefusedError: They are refused, or are others than before.
        """

    def attach(self, run_id: str, file: Path, folder: str) -> None:
        """Store a file with a run; the same name again replaces it.

        Raises:
            RunGoneError: The run does not exist any more.
        """

    def register(self, run_id: str, model_name: str, version: str) -> None:
        """Make the run's files a version of a registered model; once for each ``version``."""

    def finish(self, run_id: str, end_ms: int) -> None:
        """Mark a run as finished.

        Raises:
            RunGoneError: The run does not exist any more.
        """
