"""Keeps a few individual predictions of each window, at next to no cost for the others."""

import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.monitoring.counts import ModelVersion
from service.monitoring.sampled import SampledError, SampledPrediction, SampledWindow

_MOST_WINDOWS_WAITING = 24


class Reservoir:
    """The sample of one model version in one worker; for the event loop alone.

    Among all predictions of a window each is kept with the same probability. How many are passed
    over before the next one is kept is drawn in advance, so that most cost one comparison.

    Source: Li, "Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n)))" (1994),
    algorithm L.
    """

    def __init__(
        self, model: ModelVersion, *, window_seconds: int, most: int, rng: random.Random
    ) -> None:
        self._model = model
        self._window_seconds = window_seconds
        self._most = most
        self._rng = rng
        self._finished: list[SampledWindow] = []
        self._begin(0)

    def _begin(self, start: int) -> None:
        self._start = start
        self._seen = 0
        self._kept: list[SampledPrediction] = []
        self._next = 0
        self._threshold = 1.0
        self._errors_seen = 0
        self._errors: list[SampledError] = []
        self._shortest, self._longest = math.inf, 0.0

    def answered(
        self,
        at: float,
        seconds: Sequence[float],
        rows: Sequence[int],
        scores: NDArray[np.float64],
    ) -> None:
        """Take in the predictions of requests that were answered together.

        Args:
            at: When, in Unix seconds.
            seconds: How long each request took.
            rows: How many predictions each request has.
            scores: What was predicted, request after request, shape ``(sum(rows),)``.
        """
        self._note(at, min(seconds), max(seconds))
        end = self._seen + len(scores)
        if self._next < end:
            seconds_of_row = np.repeat(seconds, rows)
            while self._next < end:
                row = self._next - self._seen
                self._keep(SampledPrediction(at, float(seconds_of_row[row]), float(scores[row])))
        self._seen = end

    def failed(self, at: float, seconds: float) -> None:
        """Take in one request that the model failed."""
        self._note(at, seconds, seconds)
        self._errors_seen += 1
        if len(self._errors) < self._most:
            self._errors.append(SampledError(at, seconds))
        else:
            place = self._rng.randrange(self._errors_seen)
            if place < self._most:
                self._errors[place] = SampledError(at, seconds)

    def take_finished(self, now: float) -> Sequence[SampledWindow]:
        """Hand over the windows that are over at ``now``, in Unix seconds."""
        self._turn(now)
        finished, self._finished = self._finished, []
        return finished

    def take_rest(self) -> Sequence[SampledWindow]:
        """Hand over everything, the window that is not over included; nothing may follow."""
        return self.take_finished(self._start + self._window_seconds)

    def _note(self, at: float, shortest: float, longest: float) -> None:
        if at >= self._start + self._window_seconds:
            self._turn(at)
        self._shortest = min(self._shortest, shortest)
        self._longest = max(self._longest, longest)

    def _turn(self, at: float) -> None:
        start = int(at // self._window_seconds) * self._window_seconds
        if start <= self._start:
            return
        if self._seen or self._errors_seen:
            self._finished.append(
                SampledWindow(
                    model=self._model,
                    window_start=self._start,
                    predictions_seen=self._seen,
                    predictions=tuple(self._kept),
                    errors_seen=self._errors_seen,
                    errors=tuple(self._errors),
                    shortest_seconds=self._shortest,
                    longest_seconds=self._longest,
                )
            )
            # While nobody takes them the newest count.
            del self._finished[:-_MOST_WINDOWS_WAITING]
        self._begin(start)

    def _keep(self, found: SampledPrediction) -> None:
        if len(self._kept) < self._most:
            self._kept.append(found)
            self._next += 1
            if len(self._kept) < self._most:
                return
        else:
            self._kept[self._rng.randrange(self._most)] = found
            self._next += 1
        # 1 - random() is never 0.
        self._threshold *= math.exp(math.log(1 - self._rng.random()) / self._most)
        self._next += math.floor(math.log(1 - self._rng.random()) / math.log1p(-self._threshold))
