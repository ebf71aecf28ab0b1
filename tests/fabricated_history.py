"""Windows for the outbox, and what MLflow must hold afterwards."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge_process import SCOPE
from sqlalchemy import Row, create_engine, text

from bridge.points import common_points_of, points_of
from bridge.runs import RunNaming, day_end_ms
from bridge.windows import Slot
from service.monitoring.tracking import Entry, EntryKind, TrackedRun
from service.state.outbox import Outbox

MODELS = ("xgboost", "logistic_regression")
WINDOW_SECONDS = 300
LATE_EVENING = Slot(number=(1_795_000_000 // 86_400 * 86_400 + 72_000) // 300, seconds=300)
"""20:00 UTC of a day in November 2026."""
NAMES = (
    *("total_requests", "requests_in_window", "error_rate", "avg_latency_ms", "p95_latency_ms"),
    *("mean_prediction", "std_prediction", "health_status"),
)
NAMING = RunNaming(
    source=SCOPE, window_seconds=WINDOW_SECONDS, experiment="none", service_version="1"
)


class Fact(NamedTuple):
    """A point, and the run that it is to be found in."""

    run_key: str
    name: str
    step: int
    timestamp_ms: int
    value: float


@dataclass
class FabricatedHistory:
    """Freezes windows and remembers them, apart from the outbox."""

    outbox: Outbox
    seed: int = 0
    next_slot: Slot = LATE_EVENING
    frozen: set[Fact] = field(default_factory=set)
    finished: dict[str, int] = field(default_factory=dict)
    """End of each closed run, in Unix milliseconds."""
    run_keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def freeze(self, windows: int, at: float = 1.8e9) -> None:
        """Freeze the next windows of every model, and close the days that end with them."""
        for _ in range(windows):
            slot = self.next_slot
            runs = [NAMING.of_day(model, "1", slot) for model in MODELS]
            entries = [self._window(run, slot) for run in runs]
            if slot.ends_day:
                entries += [self._close(run, slot) for run in runs]
            self.outbox.freeze(runs, entries, at=at, until=slot.end)
            self._remember(entries)
            self.next_slot = Slot(number=slot.number + 1, seconds=slot.seconds)

    def skip_to(self, hour: int) -> None:
        """Let the rest of the day go by unserved until ``hour`` o'clock."""
        number = (self.next_slot.day_start + 3600 * hour) // WINDOW_SECONDS
        assert number >= self.next_slot.number
        self.next_slot = Slot(number=number, seconds=WINDOW_SECONDS)

    def _window(self, run: TrackedRun, slot: Slot) -> Entry:
        numbers = {name: self._random.lognormvariate(0, 5) for name in NAMES}
        points = points_of(numbers, model_name=run.model_name, slot=slot)
        return Entry(run_key=run.key, kind=EntryKind.WINDOW, step=slot.number, points=points)

    def _close(self, run: TrackedRun, slot: Slot) -> Entry:
        points = common_points_of({"day/completeness": 1.0}, slot)
        return Entry(
            run_key=run.key,
            kind=EntryKind.CLOSE,
            step=slot.number,
            points=points,
            end_ms=day_end_ms(run),
        )

    def _remember(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.run_keys.add(entry.run_key)
            self.frozen.update(
                Fact(entry.run_key, p.name, p.step, p.timestamp_ms, p.value) for p in entry.points
            )
            if entry.end_ms is not None:
                self.finished[entry.run_key] = entry.end_ms


class StoredRun(NamedTuple):
    """A run as the tracking database has it."""

    run_key: str
    run_id: str
    status: str
    end_time: int | None
    lifecycle_stage: str


def stored_runs(database_url: str, experiment_id: int | None = None) -> Sequence[StoredRun]:
    """Read every run that has a key, deleted ones too."""
    rows = _rows(
        database_url,
        "SELECT t.value, r.run_uuid, r.status, r.end_time, r.lifecycle_stage FROM runs r "
        "JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'ctr.run_key' "
        "WHERE CAST(:id AS INTEGER) IS NULL OR r.experiment_id = CAST(:id AS INTEGER)",
        experiment_id,
    )
    return [StoredRun(*row) for row in rows]


def stored_facts(database_url: str, experiment_id: int | None = None) -> Counter[Fact]:
    """Read every point that the tracking database has, also of a run without a key."""
    rows = _rows(
        database_url,
        "SELECT t.value, m.key, m.step, m.timestamp, m.value FROM metrics m "
        "JOIN runs r ON r.run_uuid = m.run_uuid "
        "LEFT JOIN tags t ON t.run_uuid = m.run_uuid AND t.key = 'ctr.run_key' "
        "WHERE CAST(:id AS INTEGER) IS NULL OR r.experiment_id = CAST(:id AS INTEGER)",
        experiment_id,
    )
    return Counter(Fact(*row) for row in rows)


def audit(history: FabricatedHistory, facts: Counter[Fact], runs: Sequence[StoredRun]) -> None:
    """Everything that was frozen is there exactly once, and nothing else."""
    there = set(facts)
    lost, made_up = history.frozen - there, there - history.frozen
    doubled = [fact for fact, times in facts.items() if times > 1]
    assert (len(lost), len(made_up), len(doubled)) == (0, 0, 0), (
        sorted(lost)[:3],
        sorted(made_up, key=str)[:3],
        doubled[:3],
    )
    assert Counter(run.run_key for run in runs) == Counter(history.run_keys)
    assert {run.lifecycle_stage for run in runs} == {"active"}
    finished = {run.run_key: run.end_time for run in runs if run.status == "FINISHED"}
    assert finished == history.finished


def _rows(
    database_url: str, statement: str, experiment_id: int | None
) -> Sequence[Row[*tuple[Any, ...]]]:
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement), {"id": experiment_id}).all()
    finally:
        engine.dispose()
