"""Brings the individual predictions that a worker kept into the state store."""

from collections import deque
from collections.abc import Callable, Sequence

from service.monitoring.sampled import SampledWindow
from service.state.sampled_windows import StoredSampledWindows
from service.telemetry.reservoir import Reservoir

_MOST_UNSTORED = 100


class Sampling:
    """The reservoirs of one worker and where they go.

    A sample may be lost: when the worker is killed, or when the store is away for long. What it
    stands for is counted all the same.
    """

    def __init__(
        self,
        *,
        reservoirs: Callable[[], Sequence[Reservoir]],
        store: StoredSampledWindows,
        worker: str,
    ) -> None:
        """Prepare.

        Args:
            reservoirs: Gives those of every version that the worker has served.
            store: Where samples go.
            worker: Unique to this life of the process.
        """
        self._reservoirs = reservoirs
        self._store = store
        self._worker = worker
        self._unstored = deque[SampledWindow](maxlen=_MOST_UNSTORED)

    def collect(self, now: float) -> None:
        """Take the windows that are over at ``now``, in Unix seconds; on the event loop."""
        for reservoir in self._reservoirs():
            self._unstored += reservoir.take_finished(now)

    def collect_rest(self) -> None:
        """Take everything; on the event loop, which records nothing any more."""
        for reservoir in self._reservoirs():
            self._unstored += reservoir.take_rest()

    def store(self) -> None:
        """Store what was taken; blocks.

        Raises:
            StateUnavailableError: The state store does not answer; the next time tries again.
        """
        windows = tuple(self._unstored)
        self._store.append(self._worker, windows)
        for _ in windows:
            self._unstored.popleft()
