"""The fold of one quantity: evidence from every tick, the latch, and the window test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.monitoring.drift.bank import Bank
from service.monitoring.drift.budget import (
    CLEAR_TICKS,
    LOG_CAP,
    LOG_CLEAR,
    LOG_THRESHOLD,
    RENAME_TICKS,
    WINDOW_LOG_THRESHOLD,
)
from service.monitoring.drift.course import Standardised
from service.monitoring.drift.kalman import wander_filter
from service.monitoring.drift.kind import DriftKind, change_since
from service.monitoring.drift.recent import RecentSums
from service.monitoring.drift.reference import QuantityReference
from service.monitoring.drift.ripple import WINDOWS
from service.monitoring.drift.rolling import roll
from service.monitoring.drift.state import Active, QuantityState
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats
from service.monitoring.drift.window_test import (
    DriftThresholds,
    WindowSums,
    mean_is_off,
    variance_bets,
    variance_is_off,
    window_evidence,
)

WINDOW_CHANNEL = "window"
_MOST_LOG_FACTOR = 300.0
_NO_EVIDENCE = 1e-300
_MOST_CELL = 1e280
_LONGEST_TICKS = 240.0
"""Over more than an hour the mean of a daily course depends on when in it the traffic came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm was raised, or its kind became clearer."""

    tick: int
    """Index within the ticks that were folded."""
    time: float
    """End of that tick in Unix seconds."""
    kind: DriftKind
    channel: str
    """Where most of the evidence is, or ``window``."""
    log_evidence: float
    """At that tick; of a window test, that of its window."""
    log_evidence_threshold: float
    """What it had to reach; one that stood already may have fallen below it when renamed."""
    since: float
    """When the change is estimated to have begun, in Unix seconds."""
    renamed: bool
    """Whether an alarm that stands was given another kind."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartTicks:
    """Adjacent ticks of one quantity."""

    time: Floats
    elapsed: Floats
    """Length of each, in nominal ticks."""
    quantity: Aggregates
    begin: int
    """Index of the first one."""

    @property
    def middle(self) -> Floats:
        """End of the nominal tick in the middle of each, in Unix seconds."""
        return self.time - (self.elapsed - 1) * TICK_SECONDS / 2


class Part:
    """Folds one quantity."""

    def __init__(
        self,
        reference: QuantityReference,
        thresholds: DriftThresholds,
        *,
        kind: DriftKind | None,
        channels: Sequence[str],
    ) -> None:
        """Prepare.

        Args:
            reference: What is normal.
            thresholds: Of the window test.
            kind: What every alarm is called; None where the moments decide.
            channels: Their names.
        """
        self._reference = reference
        self._thresholds = thresholds
        self._kind = kind
        self._channels = channels
        self._bank = bank = Bank.of(reference)
        ripples = 0 if reference.ripple is None else len(WINDOWS)
        share = reference.ripple_weight / max(ripples, 1)
        self._weight = np.concatenate([bank.weight, np.full(ripples, share)])
        # A bet that learnt nothing stands still; without a leak its sum would grow with time.
        self._leaving = np.concatenate([bank.leaving, (0.25 / WINDOWS)[:ripples]])
        last = np.full(ripples, len(channels) - 1)
        self._channel = np.concatenate([bank.channel, last]).astype(np.int64)
        self._entering = np.concatenate([(bank.source < 0).astype(np.float64), np.ones(ripples)])
        self._heirs = np.flatnonzero(bank.source >= 0)
        self._sources = bank.source[self._heirs]
        self._ceiling = math.exp(LOG_CAP)

    def start(self) -> QuantityState:
        """Give the state before the first tick."""
        ripple = self._reference.ripple
        return QuantityState(
            level=np.zeros(self._reference.course.channels),
            doubt=self._reference.wander.variance.copy(),
            taken=np.zeros(self._reference.course.channels),
            cells=np.zeros(len(self._weight)),
            recent=(),
            ripple=np.zeros(0) if ripple is None else ripple.start(),
            window=np.zeros((0, 0)),
        )

    def fold(
        self, old: QuantityState, ticks: PartTicks
    ) -> tuple[QuantityState, Floats, list[Alarm]]:
        """Fold ticks in; gives the logarithm of the evidence after each, shape ``(t,)``."""
        ticks = self._comparable(ticks)
        seen = self._reference.course.standardise(ticks.middle, ticks.quantity)
        (level, doubt, taken), memory, factors = self._factors(old, ticks, seen)
        recent = RecentSums([list(runs) for runs in old.recent])
        rows = np.column_stack([seen.count, seen.squares, seen.sums]).tolist()
        elapsed, time = ticks.elapsed.tolist(), ticks.time.tolist()
        cells, active = old.cells.copy(), old.active
        evidence = np.empty(len(time))
        rows_of_window, windows = self._roll(old, ticks, seen)
        enough = (windows.count >= self._thresholds.min_predictions).tolist()
        alarms: list[Alarm] = []
        for t in range(len(time)):
            moving = cells * self._leaving
            cells -= moving
            cells[self._heirs] += moving[self._sources]
            cells += self._entering * elapsed[t]
            cells *= factors[t]
            total = float(self._weight @ cells)
            if total > self._ceiling:
                # Less evidence is a supermartingale still.
                cells = np.minimum(cells, _MOST_CELL)
                cells *= self._ceiling / float(self._weight @ cells)
                total = self._ceiling
            evidence[t] = now = math.log(max(total, _NO_EVIDENCE))
            recent.add(rows[t])
            loud = now >= LOG_THRESHOLD and enough[t]
            if loud or active is not None:
                active = cleared(active, now)
                if loud or active is not None:
                    active, raised = self._name(active, recent, cells, now, time[t])
                    alarms += [replace(alarm, tick=ticks.begin + t) for alarm in raised]
        kinds, more = self._window_test(old, ticks, windows)
        after = QuantityState(
            level=level,
            doubt=doubt,
            taken=taken,
            cells=cells,
            recent=tuple(tuple(runs) for runs in recent.levels),
            ripple=memory,
            window=rows_of_window,
            window_kinds=kinds,
            log_evidence=float(evidence[-1]),
            active=active,
        )
        return after, evidence, alarms + more

    def log_evidence_by_channel(self, state: QuantityState) -> Mapping[str, float]:
        """Evidence of each channel, weighted as it enters the sum."""
        sums = np.bincount(self._channel, self._weight * state.cells, len(self._channels))
        return {
            name: math.log(max(float(value), _NO_EVIDENCE))
            for name, value in zip(self._channels, sums, strict=True)
            if value > 0
        }

    def _comparable(self, ticks: PartTicks) -> PartTicks:
        """Leave out what ticks saw that are too long to be held against a daily course."""
        if self._reference.course.flat:
            return ticks
        kept = (ticks.elapsed <= _LONGEST_TICKS).astype(np.float64)
        seen = ticks.quantity
        return replace(
            ticks,
            quantity=replace(
                seen,
                total=seen.total * kept,
                squares=seen.squares * kept,
                buckets=seen.buckets * kept[:, None],
            ),
        )

    def _factors(
        self, old: QuantityState, ticks: PartTicks, seen: Standardised
    ) -> tuple[tuple[Floats, Floats, Floats], Floats, Floats]:
        filtered, known = wander_filter(
            self._bank, (old.level, old.doubt, old.taken), seen, ticks.elapsed
        )
        log_factors = self._bank.log_factors(
            count=seen.count,
            sums=seen.sums,
            squares=seen.squares,
            predicted=known.predicted,
            doubt=known.doubt,
            standing=known.standing,
        )
        memory = old.ripple
        if self._reference.ripple is not None:
            memory, more = self._reference.ripple.fold(memory, ticks.middle, ticks.quantity)
            log_factors = np.concatenate([log_factors, more], axis=1)
        return filtered, memory, np.exp(np.minimum(log_factors, _MOST_LOG_FACTOR))

    def _name(
        self,
        active: Active | None,
        recent: RecentSums,
        cells: Floats,
        evidence: float,
        time: float,
    ) -> tuple[Active, list[Alarm]]:
        if active is not None and (self._kind or active.ticks > RENAME_TICKS):
            return active, []
        change = change_since(self._reference, recent.since())
        kind = self._kind or (change.prediction_kind if change else DriftKind.SHAPE_CHANGE)
        if active is not None and kind is active.kind:
            return active, []
        since = time - TICK_SECONDS * (change.ticks if change else 1.0)
        by_channel = np.bincount(self._channel, self._weight * cells)
        alarm = Alarm(
            tick=0,
            time=time,
            kind=kind,
            channel=self._channels[int(np.argmax(by_channel))],
            log_evidence=evidence,
            log_evidence_threshold=LOG_THRESHOLD,
            since=since,
            renamed=active is not None,
        )
        if active is None:
            active = Active(kind=kind, alarmed_at=time, since=since, ticks=0, quiet=0)
        return replace(active, kind=kind, since=since), [alarm]

    def _roll(
        self, old: QuantityState, ticks: PartTicks, seen: Standardised
    ) -> tuple[Floats, WindowSums]:
        course = self._reference.course
        crowding = seen.count**2 / ticks.elapsed
        columns = [np.column_stack([seen.count, seen.sums[:, 0], seen.squares, crowding])]
        if self._kind is None:
            moment = ticks.middle - TICK_SECONDS / 2
            mean, std = course.means[0].at(moment), course.stds[0].at(moment)
            columns.append(variance_bets(self._reference, ticks.quantity, mean, std))
        rows, sums = roll(
            old.window,
            ticks.time,
            np.concatenate(columns, axis=1),
            self._thresholds.window_seconds,
        )
        return rows, WindowSums.of(sums)

    def _window_test(
        self, old: QuantityState, ticks: PartTicks, windows: WindowSums
    ) -> tuple[tuple[tuple[DriftKind, int], ...], list[Alarm]]:
        limits = self._thresholds
        verdicts = {
            self._kind or DriftKind.MEAN_SHIFT: mean_is_off(
                self._reference,
                windows,
                z=limits.latency_z if self._kind else limits.mean_z,
                least=limits.min_predictions,
            )
        }
        if self._kind is None:
            verdicts[DriftKind.VARIANCE_CHANGE] = variance_is_off(
                self._reference,
                windows,
                ratio=limits.variance_ratio,
                least=limits.min_predictions,
            )
        standing = dict(old.window_kinds)
        after: dict[DriftKind, int] = {}
        alarms: list[Alarm] = []
        for kind, off in verdicts.items():
            raised, quiet = _latched(off, standing.get(kind))
            if quiet is not None:
                after[kind] = quiet
            found = window_evidence(kind, self._reference, windows.part(np.array(raised, int)))
            alarms += [
                Alarm(
                    tick=ticks.begin + t,
                    time=float(ticks.time[t]),
                    kind=kind,
                    channel=WINDOW_CHANNEL,
                    log_evidence=log_evidence,
                    log_evidence_threshold=WINDOW_LOG_THRESHOLD,
                    since=float(ticks.time[t]) - limits.window_seconds,
                    renamed=False,
                )
                for t, log_evidence in zip(raised, found.tolist(), strict=True)
            ]
        return tuple(after.items()), alarms


def _latched(off: NDArray[np.bool_], quiet: int | None) -> tuple[list[int], int | None]:
    """Ticks at which a window test that has cleared fires, and ticks since it last was off."""
    last = -math.inf if quiet is None else -1 - quiet
    raised: list[int] = []
    for tick in np.flatnonzero(off).tolist():
        if tick - last > CLEAR_TICKS:
            raised.append(tick)
        last = tick
    since = len(off) - 1 - last
    return raised, int(since) if since < CLEAR_TICKS else None


def cleared(active: Active | None, evidence: float) -> Active | None:
    """Give what is left of an alarm after a tick; None once it was quiet for long enough."""
    if active is None:
        return None
    quiet = active.quiet + 1 if evidence < LOG_CLEAR else 0
    if quiet >= CLEAR_TICKS:
        return None
    return replace(active, ticks=active.ticks + 1, quiet=quiet)
