"""What each released version left is read by this one: every number, id, model and run."""

import math
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_server import wait_until
from released_state import (
    BASELINE,
    OLDEST_BUILD,
    RELEASED,
    Expected,
    bridge_of,
    service_of,
    unpack,
)
from service_process import ROOT

pytestmark = pytest.mark.integration

MODELS = ("xgboost", "logistic")
LATER_SECONDS = 90.0
"""After the earlier version ended, today's starts."""


@dataclass(frozen=True)
class Left:
    """What an earlier version left, and today's clock set to soon after it."""

    folder: Path
    expected: Expected
    env: Mapping[str, str]

    def history(self, statement: str) -> list[Any]:
        """Ask the tracking database itself."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            return database.execute(statement).fetchall()


def unpacked(archive: Path, folder: Path) -> Left:
    expected = unpack(archive, folder)
    shift = expected.ended + LATER_SECONDS - time.time()
    given = filter(None, [os.environ.get("PYTHONPATH")])
    path = os.pathsep.join([str(ROOT / "tests/shifted_clock"), str(ROOT), *given])
    return Left(folder, expected, {"TEST_CLOCK_SHIFT": str(shift), "PYTHONPATH": path})


@pytest.fixture(scope="module", params=RELEASED, ids=lambda path: path.name)
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Left:
    return unpacked(request.param, tmp_path_factory.mktemp("left"))


@pytest.fixture(scope="module")
def runs_before(left: Left) -> dict[str, str]:
    """Ids of the runs that the earlier version wrote, by key."""
    return dict(left.history(RUNS))


@pytest.fixture(scope="module")
def today(left: Left, runs_before: dict[str, str]) -> Iterator[httpx.Client]:
    """Today's service on it."""
    del runs_before
    with service_of(left.folder, left.env, workers=1) as service, service.client() as client:
        yield client


RUNS = "SELECT value, run_uuid FROM tags WHERE key = 'ctr.run_key' ORDER BY run_uuid"
PREDICTIONS = """
    SELECT m.value || ' ' || v.value, points.step, points.value FROM metrics points
    JOIN tags m ON m.run_uuid = points.run_uuid AND m.key = 'model_name'
    JOIN tags v ON v.run_uuid = points.run_uuid AND v.key = 'model_version'
    WHERE points.key = 'predictions_in_window'
"""


def test_every_released_version_left_something_to_read() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert set(re.findall(r"^## \[?(\d+\.\d+\.\d+)", changelog, flags=re.MULTILINE)) <= set(
        RELEASED
    )
    assert RELEASED


@pytest.mark.parametrize("model", MODELS)
def test_every_prediction_is_still_counted(left: Left, today: httpx.Client, model: str) -> None:
    told = left.expected.of_model(model)

    answer = today.get("/monitoring/stats", params={"model_name": model, "window": "1h"}).json()

    assert answer["total_predictions"] == told.predictions
    assert answer["mean_prediction"] * told.predictions == pytest.approx(
        told.sum_of_scores, rel=1e-12
    )


def test_the_baseline_that_was_set_still_holds(today: httpx.Client) -> None:
    answer = today.get("/monitoring/baseline/logistic").json()

    assert {name: answer[name] for name in BASELINE} == BASELINE


def test_the_versions_that_were_served_are_served(left: Left, today: httpx.Client) -> None:
    assert today.get("/readyz").json()["models"] == left.expected.serving


def test_ids_that_were_signed_then_are_accepted_now_and_clicks_are_known(
    left: Left, today: httpx.Client
) -> None:
    def send(ids: list[str]) -> Any:  # noqa: ANN401 - JSON
        events = [{"prediction_id": one, "clicked": True} for one in ids]
        return today.post("/feedback", json={"events": events}).json()

    assert len(left.expected.unclicked) >= 10
    assert send(left.expected.unclicked)["accepted"] == len(left.expected.unclicked)
    assert send(left.expected.clicked)["duplicates"] == len(left.expected.clicked)


def test_the_bridge_goes_on_with_the_same_runs_without_a_gap_or_a_double(
    left: Left, today: httpx.Client, runs_before: dict[str, str]
) -> None:
    told = {name: told.predictions for name, told in left.expected.told.items()}
    before = Counter[str]()
    for name, _, value in left.history(PREDICTIONS):
        before[name] += int(value)
    # Otherwise there would be nothing to go on with.
    assert any(0 < before[name] < told[name] for name in told)

    wait_until(
        lambda: "ctr_snapshot_stored" in today.get("/metrics").text,
        seconds=30,
        what="the history goes on",
    )
    for _ in range(2):
        sent = bridge_of(left.folder, "send", env=left.env)
        assert sent.returncode == 0, sent.stderr

    points = left.history(PREDICTIONS)
    assert len({(name, step) for name, step, _ in points}) == len(points)
    assert {
        name: math.fsum(value for other, _, value in points if other == name) for name in told
    } == told
    runs = left.history(RUNS)
    assert len({key for key, _ in runs}) == len(runs)
    assert runs_before.items() <= dict(runs).items()
    assert {key for key, _ in runs} == set(runs_before)


def test_the_version_that_was_served_before_can_be_gone_back_to(
    left: Left, today: httpx.Client
) -> None:
    now = left.expected.serving["logistic"]
    [before] = {name.split()[1] for name in left.expected.told if name.startswith("logistic ")} - {
        now
    }

    loaded = today.post("/models/rollback", json={"model_name": "logistic"}).json()["loaded"]

    assert [(one["version"], one["previous_version"]) for one in loaded] == [(before, now)]


@pytest.mark.parametrize("archive", RELEASED, ids=lambda path: path.name)
def test_every_click_is_still_counted_for_its_prediction(archive: Path, tmp_path: Path) -> None:
    left = unpacked(archive, tmp_path)
    ripe = {**left.env, "CTR_ATTRIBUTION_WINDOW": "1"}

    with service_of(left.folder, ripe, workers=1) as service, service.client() as client:
        for model, serving in left.expected.serving.items():
            told = left.expected.told[f"{model} {serving}"]
            answer = client.get(f"/monitoring/quality/{model}").json()
            assert (answer["predictions"], answer["clicks"]) == (told.predictions, told.clicks)


def test_the_oldest_state_with_a_version_becomes_one_of_today_with_every_number(
    tmp_path: Path,
) -> None:
    newest = unpacked(RELEASED[-1], tmp_path / "newest")
    left = unpacked(OLDEST_BUILD, tmp_path / "oldest")
    for name in ("models", "experiment.toml"):
        (newest.folder / name).rename(left.folder / name)

    with service_of(left.folder, left.env, workers=1) as service, service.client() as client:
        for model in MODELS:
            told = left.expected.of_model(model)
            query = {"model_name": model, "window": "1h"}
            answer = client.get("/monitoring/stats", params=query).json()
            assert answer["total_predictions"] == told.predictions
            assert answer["mean_prediction"] * told.predictions == pytest.approx(
                told.sum_of_scores, rel=1e-12
            )
