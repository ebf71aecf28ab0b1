"""The runs of the history: their keys, names, and tags."""

import re
from dataclasses import dataclass, replace

from bridge.windows import SECONDS_PER_DAY, Slot
from service.monitoring.tracking import RunKind, TrackedRun

RELEASE_KEY_TAG, RELEASE_TAG = "ctr.release", "ctr.release_run_id"
"""On a production run: key and id of the run about the model that was served."""
# A key is quoted in MLflow's search, which knows no escape.
_NOT_IN_KEYS = re.compile(r"[^\w.:@ -]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNaming:
    """What all runs of one bridge have in common."""

    source: str
    """Whose counters these are, such as ``instance:host1``."""
    window_seconds: int
    experiment: str
    """Name of the A/B test; ``none`` without one."""
    service_version: str

    def of_day(self, model_name: str, model_version: str, slot: Slot) -> TrackedRun:
        """The run of a model version on the day of a window."""
        return self._run(RunKind.MONITORING, model_name, model_version, slot)

    def of_change(self, model_name: str, versions: tuple[str, str], slot: Slot) -> TrackedRun:
        """The run about a change of the version that is served, from the first to the second."""
        before, after = versions
        run = self._run(RunKind.EVENT, model_name, after, slot)
        return replace(
            run,
            name=f"{model_name} {before} -> {after}",
            tags={**run.tags, "from_version": before, "to_version": after},
        )

    def change_key(self, run: TrackedRun, slot: Slot) -> str:
        """Key of the run about the change that brought the version of ``run`` in."""
        return self._run(RunKind.EVENT, run.model_name, run.model_version, slot).key

    def samples_of(self, day_run: TrackedRun, slot: Slot) -> TrackedRun:
        """Its child, with individual predictions."""
        return self._run(
            RunKind.SAMPLES, day_run.model_name, day_run.model_version, slot, parent=day_run.key
        )

    def _run(
        self,
        kind: RunKind,
        model_name: str,
        model_version: str,
        slot: Slot,
        parent: str | None = None,
    ) -> TrackedRun:
        arm = f"{self.experiment}:{model_name}"
        name = f"{model_name} {slot.day} {model_version}"
        parts = [model_name, model_version, arm, self.source, slot.day]
        if kind is not RunKind.MONITORING:
            parts.append(kind.value)
            name = f"{name} {kind.value}"
        return TrackedRun(
            key="|".join(_NOT_IN_KEYS.sub("_", part) for part in parts),
            kind=kind,
            name=name,
            model_name=model_name,
            model_version=model_version,
            day=slot.day,
            start_ms=slot.day_start * 1000,
            parent_key=parent,
            tags={
                "model_name": model_name,
                "model_version": model_version,
                "arm": arm,
                "source": self.source,
                "ctr.day": slot.day,
                "ctr.window": f"{self.window_seconds}s",
                "ctr.kind": kind.value,
                "service_version": self.service_version,
                RELEASE_KEY_TAG: release_key(model_name, model_version),
            },
        )


def release_key(model_name: str, model_version: str) -> str:
    """Key of the run about a trained model, whoever trained and whoever serves it."""
    return f"release|{model_name}|{model_version}"


def day_end_ms(run: TrackedRun) -> int:
    """When the run's day is over."""
    return run.start_ms + SECONDS_PER_DAY * 1000
