"""The sequential detector: a pure fold over ticks with a bounded rate of false alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.part import Alarm, Part, PartTicks
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.state import DriftState, QuantityState
from service.monitoring.drift.ticks import TICK_SECONDS, Floats, Ticks
from service.monitoring.drift.window_test import DriftThresholds

PREDICTION_CHANNELS = ("mean", "location", "spread", "skew", "buckets")
LATENCY_CHANNELS = ("latency_mean", "latency_location", "latency_buckets")
_BLOCK = 2048


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What the folded ticks said."""

    log_evidence: Floats
    """Per tick and quantity, shape ``(t, q)``; a natural logarithm."""
    alarms: Sequence[Alarm]


class DriftDetector:
    """Folds ticks into a state.

    The statistic is a mixture of Shiryaev-Roberts sums of e-values,
    ``R <- (R + elapsed) * exp(l)``, of which ``R - t`` is a supermartingale under the null.
    Hence P(alarm within t ticks) <= t / A, whenever and however often anybody looks.

    Source: Shin, Ramdas, Rinaldo, "E-detectors" (2022); Pollak (1985).
    """

    def __init__(
        self, reference: Reference, *, key: str, thresholds: DriftThresholds | None = None
    ) -> None:
        """Prepare.

        Args:
            reference: What is normal.
            key: Names the model version and the baseline; a state under another key is worthless.
            thresholds: Of the window test.
        """
        self._key = key
        limits = thresholds or DriftThresholds()
        predictions = Part(
            reference.predictions,
            limits,
            kind=None,
            channels=PREDICTION_CHANNELS,
        )
        self._parts: tuple[Part, ...] = (predictions,)
        if reference.latency is not None:
            latency = Part(
                reference.latency,
                limits,
                kind=DriftKind.LATENCY_ANOMALY,
                channels=LATENCY_CHANNELS,
            )
            self._parts = (predictions, latency)

    def start(self) -> DriftState:
        """Give the state before the first tick."""
        return DriftState(
            key=self._key, time=None, quantities=tuple(part.start() for part in self._parts)
        )

    def log_evidence_by_channel(self, state: DriftState) -> Mapping[str, float]:
        """Evidence of each channel, weighted as it enters the sums."""
        return {
            channel: evidence
            for part, quantity in zip(self._parts, state.quantities, strict=True)
            for channel, evidence in part.log_evidence_by_channel(quantity).items()
        }

    def advance(self, state: DriftState, ticks: Ticks) -> tuple[DriftState, Evidence]:
        """Fold ticks in; one at a time or a month at once come to the same.

        A state of another version or baseline is replaced by a fresh one. Ticks that are not
        after the state's time are passed over. A tick that is longer than the nominal one, after
        missed ones, counts as so many.
        """
        if state.key != self._key or len(state.quantities) != len(self._parts):
            state = self.start()
        if state.time is not None:
            ticks = ticks.part(slice(int(np.searchsorted(ticks.time, state.time, "right")), None))
        evidence: list[Floats] = []
        alarms: list[Alarm] = []
        for begin in range(0, len(ticks), _BLOCK):
            block = ticks.part(slice(begin, begin + _BLOCK))
            before = block.time[0] - TICK_SECONDS if state.time is None else state.time
            elapsed = np.maximum(np.rint(np.diff(block.time, prepend=before) / TICK_SECONDS), 1.0)
            after: list[QuantityState] = []
            columns: list[Floats] = []
            for part, old, quantity in zip(
                self._parts, state.quantities, (block.predictions, block.latency), strict=False
            ):
                new, column, raised = part.fold(
                    old,
                    PartTicks(time=block.time, elapsed=elapsed, quantity=quantity, begin=begin),
                )
                after.append(new)
                columns.append(column)
                alarms += raised
            state = DriftState(key=self._key, time=float(block.time[-1]), quantities=tuple(after))
            evidence.append(np.stack(columns, axis=1))
        log_evidence = np.concatenate(evidence) if evidence else np.zeros((0, len(self._parts)))
        alarms.sort(key=lambda alarm: alarm.tick)
        return state, Evidence(log_evidence=log_evidence, alarms=alarms)
