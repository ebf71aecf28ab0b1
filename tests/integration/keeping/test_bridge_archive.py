"""Old runs are archived and come back bit for bit: real stores of MLflow."""

import json
from collections.abc import Callable
from pathlib import Path

from kept_history import (
    EXPERIMENT,
    MARKS,
    NAMING,
    Kept,
    Told,
    artifact,
    exactly,
    finished,
    flip_a_byte,
    runs_of,
    slots,
)
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from pyarrow import parquet

from bridge.tracking_uri import tracking_store

pytestmark = MARKS


def test_an_archive_without_apply_says_what_it_would_do_and_does_nothing(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    before = exactly(own.uri)

    assert bridge(own, "archive", "--older-than", 30, "--output", tmp_path / "archive") == 0

    told = capsys.readouterr().out
    points = sum(len(run[-1]) for run in finished(before, 31).values())
    assert f"5 runs of {slots(40)[0].day} to {slots(39)[0].day}, {points} points" in told
    assert "would be archived" in told
    assert "still running: not finished" in told
    assert not (tmp_path / "archive").exists()
    assert exactly(own.uri) == before


def test_archived_runs_leave_mlflow_and_come_back_bit_for_bit_in_another_store(
    own: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    before = exactly(own.uri)
    archive, new = tmp_path / "archive", f"sqlite:///{tmp_path}/new/mlflow.db"

    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0

    old = finished(before, 31)
    assert exactly(own.uri) == {name: run for name, run in before.items() if name not in old}
    assert bridge(own, "restore", "--from", archive, "--to", new) == 0
    assert exactly(new) == old
    [child] = [run for run in runs_of(new) if run.info.run_name == "odd ✓ samples"]
    assert artifact(new, child, tmp_path) == "<p>drift</p>"


def test_archived_runs_come_back_in_their_own_store_as_the_same_runs(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    before, ids = exactly(own.uri), {run.info.run_id for run in runs_of(own.uri)}
    archive = tmp_path / "archive"
    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0

    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    assert "5 runs, " in capsys.readouterr().out.splitlines()[-1]
    assert exactly(own.uri) == before
    assert {run.info.run_id for run in runs_of(own.uri)} == ids

    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    assert "5 runs were there already" in capsys.readouterr().out
    assert exactly(own.uri) == before


def test_an_archive_that_is_damaged_anywhere_is_refused_and_nothing_is_restored(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    archive, new = tmp_path / "archive", tmp_path / "new" / "mlflow.db"
    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0
    for name in ("meta.json", "points.parquet", "report.html"):
        *_, file = sorted(archive.rglob(name))
        whole = file.read_bytes()
        flip_a_byte(file)

        assert bridge(own, "restore", "--from", archive, "--to", f"sqlite:///{new}") == 1
        assert str(file) in capsys.readouterr().err
        assert not new.exists()
        file.write_bytes(whole)


def test_a_run_that_is_not_what_its_archive_says_is_neither_deleted_nor_restored(
    own: Kept, bridge: Callable[..., int], tmp_path: Path, capsys: Told
) -> None:
    archive = tmp_path / "archive"
    assert bridge(own, "archive", "--older-than", 30, "--output", archive, "--apply") == 0
    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    name = NAMING.of_day("xgboost", "v1", slots(40)[0]).name
    [changed] = [run for run in runs_of(own.uri) if run.info.run_name == name]
    client, late = MlflowClient(own.uri), tmp_path / "late.html"
    late.write_text("a report that came late")
    client.log_artifact(changed.info.run_id, str(late), "reports")
    archiving = ("archive", "--older-than", 30, "--output", archive, "--apply")
    assert bridge(own, *archiving) == 1
    assert "is not deleted: it is no longer what" in capsys.readouterr().err
    client.log_metric(changed.info.run_id, "error_rate", 1.0, 5, step=5)
    before = exactly(own.uri)

    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 1
    assert "another run with its key, which is left as it is" in capsys.readouterr().err
    # Which of the other runs were archived before this one depends on their ids.
    assert exactly(own.uri)[name] == before[name]

    assert bridge(own, *archiving) == 1
    assert "is not deleted: it is no longer what" in capsys.readouterr().err
    assert name in exactly(own.uri)


def test_an_interrupted_archive_and_an_interrupted_restore_go_on(
    own: Kept, bridge: Callable[..., int], tmp_path: Path
) -> None:
    before = exactly(own.uri)
    old = finished(before, 31)
    archive, new = tmp_path / "archive", f"sqlite:///{tmp_path}/new/mlflow.db"
    command = ("archive", "--older-than", 30, "--output", archive, "--apply")
    assert bridge(own, *command) == 0
    # As if it had been killed after writing and before deleting.
    assert bridge(own, "restore", "--from", archive, "--to", own.uri) == 0
    assert bridge(own, *command) == 0
    assert old.keys().isdisjoint(exactly(own.uri))

    # As if it had been killed amid the points of a run.
    [meta] = [file for file in archive.rglob("meta.json") if "odd|samples" in file.read_text()]
    run = json.loads(meta.read_text())["content"]
    client = MlflowClient(tracking_store(new, tmp_path).uri)
    experiment = client.create_experiment(EXPERIMENT)
    begun = client.create_run(
        experiment,
        start_time=run["start_ms"],
        run_name=run["name"],
        tags={**run["tags"], "ctr.restoring": run["run_id"]},
    )
    points = parquet.read_table(meta.parent / "points.parquet").to_pylist()[:700]
    client.log_batch(
        begun.info.run_id,
        [Metric(p["metric"], p["value"], p["timestamp_ms"], p["step"]) for p in points],
    )
    assert bridge(own, "restore", "--from", archive, "--to", new) == 0
    restored = exactly(new)
    assert len(runs_of(new)) == len(old)
    child = "odd ✓ samples"
    assert restored[child][5:] == old[child][5:]
    assert {**restored, child: None} == {**old, child: None}
