"""The sequential test of calibration: a pure fold over cohorts."""

import math
from collections.abc import Mapping

import numpy as np

from service.monitoring.calibration.bets import Bets
from service.monitoring.calibration.change import Change, change_since, columns
from service.monitoring.calibration.clumping import Clumping
from service.monitoring.calibration.state import CalibrationState
from service.monitoring.calibration.ticks import CalibrationTicks, Floats, Miscalibration
from service.monitoring.drift.budget import LOG_CAP, LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.part import cleared
from service.monitoring.drift.recent import RecentSums
from service.monitoring.drift.state import Active

MIN_CLICKS = 30
"""The test begins once so many clicks have come: before, nobody may be reporting any."""
_SECONDS_PER_MINUTE = 60.0
MOST_LOG_FACTOR = 1.0
"""No minute says more: one user who clicks on everything for some minutes is no miscalibration.
An alarm takes the agreement of a quarter of an hour, which is little beside the wait for clicks."""
_NO_EVIDENCE = 1e-300
_FORMS = tuple(Miscalibration)


class CalibrationDetector:
    """Folds the cohorts of one model version into a state.

    The null: given all before, each prediction ``p`` is clicked with a probability within
    ``p (1 - zone)`` and ``p (1 + zone)``, and clicks come in clumps no larger than estimated. The
    ratio may wander within the zone in whatever way. The statistic is a mixture of
    Shiryaev-Roberts sums of e-values, as the drift detector's, whose threshold it shares: P(alarm
    within t cohorts) <= t / A, however often anybody looks.

    An e-value is taken to the power of one over the size of the clumps: that of clicks which come
    together is that of a single one. Less than 1 in the mean it stays by Jensen's inequality.

    Source: Shin, Ramdas, Rinaldo, "E-detectors" (2022); Wedderburn (1974) for the division by the
    dispersion.
    """

    def __init__(self, *, zone: float, key: str) -> None:
        """Prepare.

        Args:
            zone: Share by which clicks may be more or fewer than predicted, 0 to below 1.
            key: Names the model version; a state under another key is worthless.
        """
        self._zone = zone
        self._key = f"{key}/{zone}"
        self._bets = Bets.of(zone)
        self._ceiling = math.exp(LOG_CAP)

    @property
    def zone(self) -> float:
        """Share by which clicks may be more or fewer than predicted."""
        return self._zone

    def start(self, *, end: float | None = None) -> CalibrationState:
        """Give the state before the first cohort; none counts that ended by ``end``."""
        return CalibrationState(
            key=self._key,
            end=end,
            clicks=0.0,
            cells=np.zeros(len(self._bets.weight)),
            clumping=(),
            recent=(),
            log_evidence=math.log(_NO_EVIDENCE),
            active=None,
        )

    def fits(self, state: CalibrationState) -> bool:
        """Whether the state is of this model version and zone."""
        return state.key == self._key and len(state.cells) == len(self._bets.weight)

    def advance(
        self, state: CalibrationState, ticks: CalibrationTicks
    ) -> tuple[CalibrationState, Floats]:
        """Fold cohorts in; one at a time or a month at once come to the same.

        A state of another version or zone is replaced by a fresh one. Cohorts that are not after
        the state's last one are passed over. An alarm clears once the evidence was low for as many
        cohorts as drift's for ticks; those without a prediction leave everything but time as it is.

        Returns:
            The state, and the logarithm of the evidence after each cohort that was folded.
        """
        if not self.fits(state):
            state = self.start()
        if state.end is not None:
            ticks = ticks.part(slice(int(np.searchsorted(ticks.end, state.end, "right")), None))
        if not len(ticks):
            return state, np.zeros(0)
        clumping = Clumping.of(state.clumping)
        recent = RecentSums([list(runs) for runs in state.recent])
        cells, active, clicks = state.cells.copy(), state.active, state.clicks
        log_factors, weight = self._bets.log_factors(ticks), self._bets.weight
        starts, ends = ticks.start.tolist(), ticks.end.tolist()
        seen = np.column_stack([ticks.predictions, ticks.promised, ticks.clicks]).tolist()
        rows = columns(ticks, state.end).tolist()
        evidence = np.empty(len(ticks))
        now = state.log_evidence
        for t, sums in enumerate(seen):
            recent.add(rows[t])
            evidence[t] = now
            if not sums[1]:
                continue
            if clicks >= MIN_CLICKS:
                cells += 1.0
                cells *= np.exp(np.minimum(log_factors[t] / clumping.size, MOST_LOG_FACTOR))
                total = float(weight @ cells)
                if total > self._ceiling:
                    # Less evidence is a supermartingale still.
                    cells *= self._ceiling / total
            clumping.add(starts[t], sums)
            clicks += sums[2]
            evidence[t] = now = math.log(max(float(weight @ cells), _NO_EVIDENCE))
            active = cleared(active, now)
            if active is None and now >= LOG_THRESHOLD:
                active = self._alarm(recent, cells, ends[t])
        after = CalibrationState(
            key=self._key,
            end=ends[-1],
            clicks=clicks,
            cells=cells,
            clumping=clumping.numbers(),
            recent=tuple(tuple(runs) for runs in recent.levels),
            log_evidence=float(evidence[-1]),
            active=active,
        )
        return after, evidence

    def log_evidence_by_form(self, state: CalibrationState) -> Mapping[Miscalibration, float]:
        """Evidence of each form, weighted as it enters the sum; empty before the first bet."""
        sums = self._sums(state.cells).tolist()
        return {
            form: math.log(max(value, _NO_EVIDENCE))
            for form, value in zip(_FORMS, sums, strict=True)
            if value > 0
        }

    def change(self, state: CalibrationState) -> tuple[Miscalibration, Change | None]:
        """Give the form with the most evidence, and what is different since it began."""
        return self._change(RecentSums([list(runs) for runs in state.recent]), state.cells)

    def _alarm(self, recent: RecentSums, cells: Floats, end: float) -> Active:
        _, change = self._change(recent, cells)
        minutes = 0.0 if change is None else change.minutes
        return Active(
            kind=DriftKind.CALIBRATION_SHIFT,
            alarmed_at=end,
            since=end - minutes * _SECONDS_PER_MINUTE,
            ticks=0,
            quiet=0,
        )

    def _change(self, recent: RecentSums, cells: Floats) -> tuple[Miscalibration, Change | None]:
        form = _FORMS[int(np.argmax(self._sums(cells)))]
        sums = recent.since()
        # The first column counts cohorts; time is what passes, in gaps too.
        return form, change_since(sums[:, 1:], form, self._zone) if recent.levels else None

    def _sums(self, cells: Floats) -> Floats:
        sums = np.bincount(self._bets.form, self._bets.weight * cells, len(_FORMS))
        return np.asarray(sums, dtype=np.float64)
