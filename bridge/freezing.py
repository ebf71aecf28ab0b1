"""From the history to the outbox: what each window was is written down once and never changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge.changes import change_of_version
from bridge.experiment_points import experiment_numbers
from bridge.points import (
    Numbers,
    common_numbers,
    common_points_of,
    day_numbers,
    points_of,
    sample_points,
    window_numbers,
)
from bridge.runs import RunNaming, day_end_ms
from bridge.slot_reader import SlotContent, SlotReader
from bridge.windows import SECONDS_PER_DAY, Slot, slots_between, slots_of_day
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.report import ExperimentReport, report
from service.monitoring.health import HealthPolicy, HealthStatus, judge
from service.monitoring.history import History
from service.monitoring.quality.measures import Quality
from service.monitoring.sampled import SampledWindow, merged
from service.monitoring.tracking import Entry, EntryKind, RunKind, TrackedRun
from service.sources.quality_watch import QualityWatch
from service.state.drift_samples import StoredDriftSamples
from service.state.experiments import StoredExperiment
from service.state.outbox import Outbox
from service.state.sampled_windows import StoredSampledWindows

_DAY_SO_FAR_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Freezer:
    """Freezes the windows that are over and not yet frozen, oldest first."""

    history: History
    drift_samples: StoredDriftSamples
    sampled_windows: StoredSampledWindows
    quality: QualityWatch
    experiment: StoredExperiment
    equivalence_margin: float
    outbox: Outbox
    naming: RunNaming
    health_policy: HealthPolicy
    health_window_seconds: float
    samples_per_window: int
    grace_seconds: float
    """A window is frozen once the history goes on for so long after its end."""

    def freeze(self, now: float) -> int:
        """Freeze what is due at ``now``, in Unix seconds; returns the number of windows."""
        due = self._due()
        for slot in due:
            self._freeze_slot(slot, now)
        return len(due)

    def _due(self) -> Sequence[Slot]:
        # Only what lies before a stored tick is over: the last totals of a service that was killed
        # come into the history when it starts again, dated back.
        span = self.history.span()
        if span is None:
            return ()
        first, last = span
        seconds = self.naming.window_seconds
        frozen = self.outbox.frozen_until()
        # A tick at a boundary belongs to the window that ends there.
        start = first - seconds if frozen is None else max(frozen, first - seconds)
        return slots_between(start, last - self.grace_seconds, seconds)

    def _freeze_slot(self, slot: Slot, now: float) -> None:
        reader = SlotReader(self.history)
        content = reader.read(slot)
        runs: list[TrackedRun] = []
        entries: list[Entry] = []
        if content is not None:
            health = self._health(reader, content)
            sampled = self.sampled_windows.of_window(slot.start)
            experiment = self._experiment(slot)
            for key in content.by_version:
                run = self.naming.of_day(key.model, key.version, slot)
                sample = (
                    merged(sampled[key], most=self.samples_per_window) if key in sampled else None
                )
                numbers = self._numbers(slot, content, run, health[key.model], sample)
                if experiment is not None:
                    numbers = {**numbers, **experiment_numbers(experiment, key)}
                runs.append(run)
                entries.append(
                    Entry(
                        run_key=run.key,
                        kind=EntryKind.WINDOW,
                        step=slot.number,
                        points=points_of(numbers, model_name=key.model, slot=slot),
                    )
                )
                if sample is not None:
                    child = self.naming.samples_of(run, slot)
                    runs.append(child)
                    entries.append(
                        Entry(
                            run_key=child.key,
                            kind=EntryKind.SAMPLES,
                            step=slot.number,
                            points=sample_points(sample, slot=slot),
                        )
                    )
                if slot.end % _DAY_SO_FAR_SECONDS == 0 and not slot.ends_day:
                    entries.append(self._day_so_far(run, slot, numbers))
        self.outbox.freeze(runs, entries, at=now, until=slot.end)
        for run in runs:
            if run.kind is RunKind.MONITORING:
                change = change_of_version(self.outbox, self.naming, run, slot)
                if change is not None:
                    self.outbox.freeze([change[0]], [change[1]], at=now)
        if closings := list(self._closings(slot, reader)):
            self.outbox.freeze((), closings, at=now)
        self.sampled_windows.drop_before(slot.end)

    def _numbers(
        self,
        slot: Slot,
        content: SlotContent,
        run: TrackedRun,
        health: HealthStatus,
        sample: SampledWindow | None,
    ) -> Numbers:
        counts = content.by_version[ModelVersion(run.model_name, run.model_version)]
        last = self.outbox.last(run.key, EntryKind.WINDOW)
        before = 0.0 if last is None else common_numbers(last.points)["total_requests"]
        said = [
            drift
            for drift in self.drift_samples.between(run.model_name, slot.start + 1, slot.end)
            if drift.model_version == run.model_version
        ]
        if said and said[-1].standing and health is HealthStatus.HEALTHY:
            health = HealthStatus.WARNING
        return window_numbers(
            counts,
            window=content.window,
            requests_today=before + counts.requests,
            health=health,
            drift=said[-1] if said else None,
            sampled=sample,
            quality=self._quality(ModelVersion(run.model_name, run.model_version), slot),
        )

    def _quality(self, model: ModelVersion, slot: Slot) -> Quality | None:
        """Judge as of the end of a slot; None where nothing has matured in it."""
        if self.quality.mature_until(slot.end) == self.quality.mature_until(slot.start):
            return None
        quality = self.quality.quality(model, slot.end)
        return quality if quality.predictions else None

    def _experiment(self, slot: Slot) -> ExperimentReport | None:
        """Judge what was counted about the end of a slot.

        Only the newest counts are kept. A slot that is frozen late is told nothing, rather than
        what was known at another time.
        """
        state = self.experiment.load()
        if state is None or not slot.start < state.at < slot.end + slot.seconds:
            return None
        return report(state.name, state.arms, margin=self.equivalence_margin)

    def _health(self, reader: SlotReader, content: SlotContent) -> Mapping[str, HealthStatus]:
        counts_by_model = reader.model_counts(content, self.health_window_seconds)
        return {
            model: judge(model, counts, policy=self.health_policy, decided={}).status
            for model, counts in counts_by_model.items()
        }

    def _day_so_far(self, run: TrackedRun, slot: Slot, latest: Numbers) -> Entry:
        frozen = self.outbox.entries(run.key, EntryKind.WINDOW)
        windows = [*(common_numbers(entry.points) for entry in frozen), latest]
        return Entry(
            run_key=run.key,
            kind=EntryKind.DAY,
            step=slot.number,
            points=common_points_of(day_numbers(windows), slot),
        )

    def _closings(self, slot: Slot, reader: SlotReader) -> Iterator[Entry]:
        """Close the runs of days that are over with this slot."""
        for run in self.outbox.unclosed():
            day_start = run.start_ms // 1000
            if day_start + SECONDS_PER_DAY > slot.end or run.kind not in _DAILY:
                continue
            last = slots_of_day(day_start, slot.seconds)[-1]
            numbers: dict[str, float] = {}
            if run.kind is RunKind.MONITORING:
                frozen = self.outbox.entries(run.key, EntryKind.WINDOW)
                expected = self._expected(run, reader, slot.seconds)
                numbers = {
                    **day_numbers([common_numbers(entry.points) for entry in frozen]),
                    "day/windows_expected": float(expected),
                }
                if expected:  # Else the history does not reach back, and nobody knows.
                    numbers["day/completeness"] = len(frozen) / expected
                yield Entry(run_key=run.key, kind=EntryKind.REPORT, step=last.number)
            yield Entry(
                run_key=run.key,
                kind=EntryKind.CLOSE,
                step=last.number,
                points=common_points_of(numbers, last),
                end_ms=day_end_ms(run),
            )

    def _expected(self, run: TrackedRun, reader: SlotReader, seconds: int) -> int:
        """Count the windows of a day in which the history saw this version being served."""
        key = ModelVersion(run.model_name, run.model_version)
        contents = (reader.read(slot) for slot in slots_of_day(run.start_ms // 1000, seconds))
        return sum(content is not None and key in content.by_version for content in contents)


_DAILY = {RunKind.MONITORING, RunKind.SAMPLES}
