"""The sequential test of features: a pure fold over ticks with a bounded rate of false alarms."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.feature_drift import bets
from service.monitoring.feature_drift.bets import BLOCK_SECONDS, PATIENT, Limits
from service.monitoring.feature_drift.budget import (
    CLEAR_TICKS,
    LOG_CAP,
    LOG_CLEAR,
    LOG_THRESHOLD,
)
from service.monitoring.feature_drift.clock import PERIODS, ahead, clock
from service.monitoring.feature_drift.course import Expected, FeatureCourse
from service.monitoring.feature_drift.dispersion import Floats
from service.monitoring.feature_drift.live import LAG_BLOCKS, Dispersion, SharesBeside
from service.monitoring.feature_drift.state import Block, FeatureState, Standing

_LOG_NOTHING = -99.0
_DIGITS = 4
"""Kept of a statistic's logarithm, so that the state is short and still exact."""
_LONGEST_TICK_SECONDS = 600.0

Counts = Mapping[tuple[str, str], float]
"""Rows by feature and value."""


class FeatureDetector:
    """Folds ticks into a state.

    Each bet is a Shiryaev-Roberts sum of e-values, ``R <- (R + ticks) * exp(l)``, of which ``R``
    less the number of ticks is a supermartingale under the null; so is their mixture. Hence
    P(alarm of a feature within t ticks) <= t / A, whenever and however often anybody looks.

    Source: Shin, Ramdas, Rinaldo, "E-detectors" (2022).
    """

    def __init__(
        self, courses: Mapping[str, FeatureCourse], *, key: str, window_seconds: float
    ) -> None:
        """Prepare.

        Args:
            courses: Of the features that can be judged, at least one.
            key: Names the model version and the baseline; a state under another key is worthless.
            window_seconds: How much of the past is kept for effect sizes.
        """
        self.courses = courses
        self._key = key
        sizes = [len(course.values) for course in courses.values()]
        self._starts = np.cumsum([0, *sizes])
        self._sizes = np.array(sizes)
        self._kept = max(math.ceil(window_seconds / BLOCK_SECONDS), LAG_BLOCKS + 1)
        self._log_weights = bets.log_weights(sizes)
        self._on_clock = np.repeat([feature in PERIODS for feature in courses], sizes)
        self._wander = np.concatenate([course.wander for course in courses.values()])

    def start(self) -> FeatureState:
        """Give the state before the first tick."""
        size = int(self._starts[-1])
        return FeatureState(
            key=self._key,
            time=None,
            cells=np.full((PATIENT + 2, size), _LOG_NOTHING),
            ages=np.zeros((PATIENT + 2, size)),
            dispersion=Dispersion.none(size),
            pending=None,
            blocks=(),
            log_evidence=(0.0,) * len(self.courses),
            standing=(None,) * len(self.courses),
        )

    def part_of(self, feature: str) -> slice:
        """Where a feature's values are."""
        place = list(self.courses).index(feature)
        return slice(int(self._starts[place]), int(self._starts[place + 1]))

    def expected(self, time: float) -> Expected:
        """Give what is expected of all features at a time in Unix seconds."""
        parts = [course.at(time) for course in self.courses.values()]
        return Expected(
            shares=np.concatenate([part.shares for part in parts]),
            low=np.concatenate([part.low for part in parts]),
            high=np.concatenate([part.high for part in parts]),
        )

    def advance(self, state: FeatureState, counts: Counts, *, end: float) -> FeatureState:
        """Fold one tick in.

        A state of another version or baseline is replaced by a fresh one. A tick that is not
        after the state's time is passed over; of one that is longer than ten minutes, after
        missed ones, only its end is taken.

        Args:
            state: Before the tick.
            counts: Rows of the tick; values that the baseline does not know are left out.
            end: Of the tick in Unix seconds.
        """
        if state.key != self._key or len(state.standing) != len(self.courses):
            state = self.start()
        if state.time is not None and end <= state.time:
            return state
        seconds = TICK_SECONDS if state.time is None else end - state.time
        ticks = max(round(seconds / TICK_SECONDS), 1)
        middle = end - min(seconds, BLOCK_SECONDS) / 2
        number = int(middle // BLOCK_SECONDS)
        if state.pending is not None and state.pending.number != number:
            state = self._closed(state, state.pending)
        if seconds <= _LONGEST_TICK_SECONDS:
            state = self._folded(state, self._row(counts, middle), middle, number, ticks)
        return self._judged(replace(state, time=end), end, ticks)

    def _row(self, counts: Counts, middle: float) -> Floats:
        parts = []
        for feature, course in self.courses.items():
            if feature in PERIODS:
                values = np.array(
                    [counts.get((feature, str(i)), 0.0) for i in range(PERIODS[feature])]
                )
                parts.append(ahead(values, clock(feature, middle)))
            else:
                parts.append(np.array([counts.get((feature, v), 0.0) for v in course.values]))
        return np.concatenate(parts)

    def _folded(
        self, state: FeatureState, row: Floats, middle: float, number: int, ticks: int
    ) -> FeatureState:
        rows = self._rows(row)
        shares = row / np.maximum(rows, 1)
        limits = self._limits(middle).quick
        factors = bets.quick_log_factors(np.stack([shares, 1 - shares]), limits)
        before = state.pending or Block(number=number, ticks=0, counts=np.zeros_like(row))
        state = self._bet(state, slice(PATIENT, None), factors, (rows > 0) & (limits < 1), ticks)
        pending = Block(number=number, ticks=before.ticks + ticks, counts=before.counts + row)
        return replace(state, pending=pending)

    def _closed(self, state: FeatureState, block: Block) -> FeatureState:
        rows = self._rows(block.counts)
        shares = block.counts / np.maximum(rows, 1)
        limits = self._limits(block.middle).patient
        variance = state.dispersion.variance_of(limits, rows, self._wander)
        factors = bets.patient_log_factors(np.stack([shares, 1 - shares]), limits, variance)
        possible = np.tile((rows > 0) & (limits < 1), (PATIENT // 2, 1))
        state = self._bet(state, slice(0, PATIENT), factors, possible, block.ticks)
        return replace(
            state,
            dispersion=self._dispersed(state, block),
            blocks=(*state.blocks, block)[-self._kept :],
            pending=None,
        )

    def _limits(self, time: float) -> Limits:
        expected = self.expected(time)
        return Limits.of(expected.low, expected.high, self._on_clock)

    def _rows(self, counts: Floats) -> Floats:
        """Rows of each value's feature, shape ``(v,)``."""
        return np.repeat(np.add.reduceat(counts, self._starts[:-1]), self._sizes)

    def _bet(
        self,
        state: FeatureState,
        part: slice,
        factors: Floats,
        possible: NDArray[np.bool_],
        ticks: int,
    ) -> FeatureState:
        """Let the bets of one route win or lose; what cannot be told leaves them as they are."""
        cells, ages = state.cells.copy(), state.ages.copy()
        after = np.logaddexp(cells[part], math.log(ticks)) + factors
        cells[part] = np.where(possible, after.round(_DIGITS).clip(_LOG_NOTHING), cells[part])
        begins = cells[part] <= math.log(2 * ticks)
        ages[part] = np.where(begins, 0.0, ages[part] + ticks)
        return replace(state, cells=cells, ages=ages)

    def _dispersed(self, state: FeatureState, block: Block) -> Dispersion:
        then = [b for b in state.blocks if b.number == block.number - LAG_BLOCKS]
        if not then:
            return state.dispersion
        (earlier,) = then
        return state.dispersion.with_pair(self._shares_beside(block), self._shares_beside(earlier))

    def _shares_beside(self, block: Block) -> SharesBeside:
        return SharesBeside(
            rows=self._rows(block.counts),
            counts=block.counts,
            expected=self.expected(block.middle).shares,
        )

    def _judged(self, state: FeatureState, end: float, ticks: int) -> FeatureState:
        weighted = state.cells + self._log_weights
        cells = state.cells.copy()
        evidence: list[float] = []
        standing: list[Standing | None] = []
        for place, old in enumerate(state.standing):
            part = slice(int(self._starts[place]), int(self._starts[place + 1]))
            its = weighted[:, part]
            most = float(its.max())
            total = most + math.log(float(np.exp(its - most).sum()))
            if total > LOG_CAP:
                cells[:, part] = (cells[:, part] - (total - LOG_CAP)).round(_DIGITS)
            evidence.append(round(min(max(total, 0.0), LOG_CAP), _DIGITS))
            age = float(state.ages[:, part].flat[int(its.argmax())])
            standing.append(_standing(old, total, end, age, ticks))
        return replace(
            state,
            cells=cells.clip(_LOG_NOTHING),
            log_evidence=tuple(evidence),
            standing=tuple(standing),
        )


def _standing(
    old: Standing | None, log_evidence: float, end: float, age: float, ticks: int
) -> Standing | None:
    if old is None:
        if log_evidence < LOG_THRESHOLD:
            return None
        return Standing(alarmed_at=end, since=end - age * TICK_SECONDS, quiet=0)
    quiet = old.quiet + ticks if log_evidence < LOG_CLEAR else 0
    return None if quiet >= CLEAR_TICKS else replace(old, quiet=quiet)
