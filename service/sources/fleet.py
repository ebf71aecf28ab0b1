"""The fleet: readings of all instances, folded tick by tick into one history that all share."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from service.monitoring.fleet import FleetState, advance, snapshot_of
from service.monitoring.history import HISTORY_SECONDS, History, Tick
from service.monitoring.snapshot import Snapshot
from service.settings import FLEET_SCOPE
from service.sources.errors import SourceUnavailableError
from service.state.keyed import KeyedValues

if TYPE_CHECKING:
    from service.sources.prometheus_api import PrometheusApi

_KEY, _PROBLEM_KEY = "fleet_state", "fleet_problem"
_STALE_TICKS = 5
_STALE_SECONDS = 30.0
"""What is known of the fleet is too old after the longer of the two."""
_ALIVE_TICKS = 3
_MOST_TICKS_AT_ONCE = 40
"""After an outage the missed ticks are made up for, so many with each call."""


class Fleet:
    """What one Prometheus knows of all instances.

    A tick is evaluated one interval late, when every scrape of before has arrived.
    """

    def __init__(
        self,
        *,
        api: "PrometheusApi",
        history: History,
        values: KeyedValues,
        interval_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._history = history
        self._values = values
        self._interval = interval_seconds
        self._clock = clock

    def read(self) -> Snapshot:
        """Give the fleet as of its newest tick; the same from every replica.

        Raises:
            SourceUnavailableError: The newest tick is too long ago.
        """
        state = self._load()
        if state is None:
            raise SourceUnavailableError(
                f"nothing is known of the fleet yet{self._because()}; ?scope=instance answers"
            )
        age = self._clock() - state.at
        if age > max(_STALE_TICKS * self._interval, _STALE_SECONDS):
            raise SourceUnavailableError(
                f"what is known of the fleet is {age:.0f} s old{self._because()}; "
                "?scope=instance answers"
            )
        return self._snapshot(state)

    def collect(self, boundary: float) -> Sequence[Tick]:
        """Fold every tick that is due at ``boundary``, in Unix seconds, and store it.

        Returns:
            The new ones, oldest first.

        Raises:
            SourceUnavailableError: Prometheus does not answer; the ticks wait.
        """
        until = boundary - self._interval
        state = self._load()
        found: list[Tick] = []
        for tick in self._due(state, until)[:_MOST_TICKS_AT_ONCE]:
            # A scrape may arrive late: what is known already changes nothing.
            since = (tick if state is None else state.at) - 2 * self._interval
            try:
                readings = self._api.readings(since, tick)
            except SourceUnavailableError as error:
                # Every worker of every replica says why.
                self._values.save(FLEET_SCOPE, _PROBLEM_KEY, str(error).encode())
                raise
            if state is None and not readings:
                return found
            state = advance(state, readings, tick)
            snapshot = self._snapshot(state)
            # In this order: a crash in between folds the tick once more, to the same.
            self._history.append(tick, snapshot)
            self._values.save(FLEET_SCOPE, _KEY, state.to_json().encode())
            found.append(Tick(tick, final=False, snapshot=snapshot))
        if found:
            self._values.save(FLEET_SCOPE, _PROBLEM_KEY, b"")
        return found

    def _due(self, state: FleetState | None, until: float) -> Sequence[float]:
        if state is None:
            return [until]
        first = max(state.at, until - HISTORY_SECONDS)
        number = math.floor((until - first) / self._interval)
        return [until - i * self._interval for i in reversed(range(number))]

    def _snapshot(self, state: FleetState) -> Snapshot:
        return snapshot_of(state, alive_since=state.at - _ALIVE_TICKS * self._interval)

    def _load(self) -> FleetState | None:
        content = self._values.load(FLEET_SCOPE, _KEY)
        return None if content is None else FleetState.from_json(content.decode())

    def _because(self) -> str:
        problem = self._values.load(FLEET_SCOPE, _PROBLEM_KEY)
        return f" ({problem.decode()})" if problem else ""
