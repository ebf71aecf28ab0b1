"""A history of finished days in a store of MLflow, and all that a store has, bit for bit."""

import math
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.mlflow_tracking import MlflowTracking
from bridge.points import common_points_of, points_of
from bridge.runs import RunNaming, day_end_ms
from bridge.sending import Sender
from bridge.tracking_uri import tracking_store
from bridge.windows import Slot, slots_of_day
from service.monitoring.tracking import Entry, EntryKind
from service.state.store import open_state

# isort: split
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.tracking import MlflowClient

MARKS = [
    pytest.mark.integration,
    # Inside MLflow: of SQLAlchemy and others.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
EXPERIMENT = "ctr_prediction_production"
DAY = 86_400
MODELS = ("xgboost", "logistic")
DAYS_BACK = (40, 39, 2)
WINDOWS_A_DAY = 8
ODD_VALUES = (math.nan, 0.1 + 0.2, 5e-324, -1.7976931348623157e308, 1 / 3, -0.0)

NAMING = RunNaming(
    source="instance:host1", window_seconds=300, experiment="none", service_version="0.1.0"
)

Told = pytest.CaptureFixture[str]
Exactly = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Kept:
    """A store with a history that the tests must not change."""

    folder: Path
    uri: str
    state: Path


def day_start(days_back: int) -> int:
    return (int(time.time()) // DAY - days_back) * DAY


def slots(days_back: int) -> Sequence[Slot]:
    return slots_of_day(day_start(days_back), 300)[:WINDOWS_A_DAY]


def send_history(kept: Kept) -> None:
    """Write finished days as the bridge does: frozen in the outbox, then sent."""
    with open_state(kept.state) as state:
        outbox = state.outbox("instance:host1")
        for days_back in DAYS_BACK:
            for model in MODELS:
                run = NAMING.of_day(model, "v1", slots(days_back)[0])
                entries = [
                    Entry(
                        run_key=run.key,
                        kind=EntryKind.WINDOW,
                        step=slot.number,
                        points=points_of(
                            {"error_rate": slot.number / 7, "requests_in_window": 3.0}
                            | ({} if slot.place_in_day == 1 else {"avg_latency_ms": 1 / 3}),
                            model_name=model,
                            slot=slot,
                        ),
                    )
                    for slot in slots(days_back)
                ]
                close = Entry(
                    run_key=run.key,
                    kind=EntryKind.CLOSE,
                    step=slots(days_back)[-1].number,
                    points=common_points_of({"day/requests": 24.0}, slots(days_back)[-1]),
                    end_ms=day_end_ms(run),
                )
                outbox.freeze([run], [*entries, close], at=time.time())
        tracking = MlflowTracking(tracking_store(kept.uri, kept.folder), EXPERIMENT)
        Sender(outbox=outbox, tracking=tracking, holds_lease=lambda: True).send()
        assert outbox.backlog().entries == 0


def add_odd_runs(kept: Kept) -> None:
    """Write by a plain client what the bridge would not: all that a store can hold."""
    client = MlflowClient(kept.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    [parent, *_] = client.search_runs(
        [experiment.experiment_id], order_by=["attributes.start_time ASC"]
    )
    start_ms = day_start(40) * 1000
    child = client.create_run(
        experiment.experiment_id,
        start_time=start_ms + 17,
        run_name="odd ✓ samples",
        tags={
            "ctr.kind": "samples",
            "ctr.day": parent.data.tags["ctr.day"],
            "ctr.run_key": "odd|samples",
            "mlflow.parentRunId": parent.info.run_id,
            "mlflow.note.content": "two\nlines, 'quoted', \"twice\", é",
        },
    ).info.run_id
    client.log_batch(
        child,
        metrics=[
            *(Metric("odd values/é", value, start_ms + 1, 2**62) for value in ODD_VALUES),
            *(Metric("latency_ms", n / 3, start_ms + n % 5, n) for n in range(1500)),
        ],
        params=[Param("depth", "6"), Param("empty", "")],
        tags=[RunTag("late", "yes")],
    )
    report = kept.folder / "report.html"
    report.write_text("<p>drift</p>")
    client.log_artifact(child, str(report), "reports")
    client.set_terminated(child, end_time=start_ms + 999)
    running = client.create_run(
        experiment.experiment_id,
        start_time=start_ms,
        run_name="still running",
        tags={"ctr.kind": "monitoring", "ctr.day": parent.data.tags["ctr.day"]},
    )
    client.log_metric(running.info.run_id, "error_rate", math.nan, start_ms + 300_000, step=1)


def runs_of(uri: str) -> Sequence[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return ()
    return client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)


def points_in(uri: str, run: Run) -> Sequence[tuple[str, int, int, bytes]]:
    """Every bit of every point, by MLflow's own client; SQLite knows no minus zero."""
    client = MlflowClient(uri)
    return sorted(
        (name, point.step, point.timestamp, struct.pack("<d", point.value + 0.0))
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    )


def exactly(uri: str) -> Exactly:
    """All that a store has, but for ids; a parent is told by its name."""
    runs = runs_of(uri)
    names = {run.info.run_id: run.info.run_name for run in runs}
    return {
        run.info.run_name: (
            *(run.info.status, run.info.start_time, run.info.end_time, run.data.params),
            {name: names.get(value, value) for name, value in run.data.tags.items()},
            {name: struct.pack("<d", value + 0.0) for name, value in run.data.metrics.items()},
            points_in(uri, run),
        )
        for run in runs
    }


def finished(content: Exactly, newest_day: int) -> Exactly:
    """The runs of days at least so far back, but for the one that is not finished."""
    day = datetime.fromtimestamp(day_start(newest_day), tz=UTC).date().isoformat()
    return {
        name: run
        for name, run in content.items()
        if name != "still running" and run[4]["ctr.day"] <= day
    }


def artifact(uri: str, run: Run, folder: Path) -> str:
    client = MlflowClient(uri)
    file = client.download_artifacts(run.info.run_id, "reports/report.html", str(folder))
    return Path(file).read_text()


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
