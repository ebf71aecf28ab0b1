"""Adds up what each arm of the experiment was given, minute by minute, and says what it means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from service.monitoring.clicks import COHORT_SECONDS, minute_of
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.arms import ArmCounts, Floats
from service.monitoring.experiment.growth import impressions_by_cell, served
from service.monitoring.experiment.report import ExperimentReport, report
from service.monitoring.experiment.state import ExperimentState, Plan
from service.monitoring.window import Window
from service.sources.history_source import HistorySource
from service.state.clicks import Clicks
from service.state.experiments import StoredExperiment

_NOTHING = Window(start=0.0, end=0.0, increases={})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentSight:
    """What is known of the experiment now."""

    report: ExperimentReport
    began: int | None
    """First minute that counts, in Unix seconds; None before the first tick."""
    until: int | None
    """The minute after the last one that is counted."""
    immature: Mapping[str, float]
    """By model: predictions after that, whose clicks may still come in."""
    read_at: float
    """Time of the newest reading, in Unix seconds."""
    instances: int


class ExperimentWatch:
    """The experiment of one scope.

    The history forgets after some days and an experiment may last longer, so the counts are kept
    beside the minute that they reach to, in one value that is replaced as a whole: after a crash
    the same minutes are added again to the same counts.

    Args:
        plan: Gives the experiment that is served now.
        stored: Where the counts are kept.
        source: The scope's windows.
        clicks: The clicks of all scopes.
        origin: The instance whose predictions the scope counts; None where it counts all.
        attribution_seconds: After so long no click comes in for a prediction any more.
        margin: Share of the baseline's CTR that is a difference without a meaning.
    """

    def __init__(
        self,
        *,
        plan: Callable[[], Plan],
        stored: StoredExperiment,
        source: HistorySource,
        clicks: Clicks,
        origin: int | None,
        attribution_seconds: float,
        margin: float,
    ) -> None:
        self._plan = plan
        self._stored = stored
        self._source = source
        self._clicks = clicks
        self._origin = origin
        self._attribution_seconds = attribution_seconds
        self._margin = margin

    def advance(self, tick: float) -> ExperimentReport | None:
        """Add the minutes that have become complete at a tick, in Unix seconds.

        An experiment begins with the first whole minute at which it is seen here.

        Returns:
            None before that minute.
        """
        plan, at = self._plan(), int(tick)
        if not plan.compares:
            return self._report(ExperimentState.begin(plan, at))
        state = self._load(plan)
        if state is None and tick % COHORT_SECONDS:
            return None
        if state is None:
            state = ExperimentState.begin(plan, at)
        else:
            state = self._advanced(plan, state, at)
        self._stored.save(state)
        return self._report(state)

    def report(self) -> ExperimentReport:
        """Say what the last tick said, whoever did its work."""
        plan = self._plan()
        return self._report(self._load(plan) or ExperimentState.begin(plan, 0))

    def sight(self) -> ExperimentSight:
        """Say what is known now."""
        plan = self._plan()
        now = self._source.snapshot()
        state = self._load(plan)
        if state is None:
            # Before its first tick, or where nothing is compared.
            nothing = ExperimentState.begin(plan, int(now.at))
            return ExperimentSight(
                report=self._report(nothing),
                began=None,
                until=None,
                immature={},
                read_at=now.at,
                instances=now.instances,
            )
        window = self._source.between(state.until, now.at) or _NOTHING
        return ExperimentSight(
            report=self._report(state),
            began=state.began,
            until=state.until,
            immature={
                arm.model_name: float(_impressions(window, arm.model, plan).sum())
                for arm in state.arms
            },
            read_at=now.at,
            instances=now.instances,
        )

    def _advanced(self, plan: Plan, state: ExperimentState, at: int) -> ExperimentState:
        until = minute_of(at - self._attribution_seconds)
        window = self._source.between(state.until, until)
        if window is None or window.end < until:
            # The history stood still then: clicks wait for their predictions, which come with the
            # first reading after it.
            return replace(state, at=at)
        return state.advanced(self._growth(plan, state, window, until), until=until, at=at)

    def _growth(
        self, plan: Plan, state: ExperimentState, window: Window, until: int
    ) -> Mapping[ModelVersion, ArmCounts]:
        found = {}
        for model in (arm.model for arm in state.arms):
            clicks = self._clicks.by_cell(
                plan.fingerprint, model, state.until, until, origin=self._origin
            )
            every = self._clicks.sums(model, state.until, until, origin=self._origin)
            found[model] = ArmCounts(
                impressions=_impressions(window, model, plan),
                clicks=clicks.astype(np.float64),
                served=served(window.increases, model, every.count),
            )
        return found

    def _report(self, state: ExperimentState) -> ExperimentReport:
        return report(state.name, state.arms, key=state.key, margin=self._margin)

    def _load(self, plan: Plan) -> ExperimentState | None:
        state = self._stored.load()
        return state if state is not None and state.is_of(plan) else None


def _impressions(window: Window, model: ModelVersion, plan: Plan) -> Floats:
    return impressions_by_cell(window.increases, model, plan.key)
