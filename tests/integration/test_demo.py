"""The demo, told in full once: what it says can be asked for, and it leaves nothing behind."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from demo_process import Demo, command, descendants, running_demo
from mlflow.tracking import MlflowClient
from prometheus_server import wait_until
from service_process import ROOT

from demo.programs import Program

pytestmark = pytest.mark.integration

MODEL = "xgboost"
STARTED_WITHIN_SECONDS, TOLD_WITHIN_SECONDS = 180.0, 600.0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that has told its story, quickly, and keeps serving."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    with running_demo(folder, "--speed", "50") as demo:
        demo.wait_for("The story is told", seconds=TOLD_WITHIN_SECONDS)
        yield demo


def ask(demo: Demo, path: str) -> dict[str, Any]:
    body: dict[str, Any] = httpx.get(f"{demo.address('the page')}{path}").raise_for_status().json()
    return body


def first_version(demo: Demo) -> str:
    runs = ask(demo, "/monitoring/mlflow")["runs"]
    served = {"kind": "monitoring", "model_name": MODEL}
    return min(str(run["model_version"]) for run in runs if served.items() <= run.items())


def test_the_service_tells_of_every_chapter(told: Demo) -> None:
    ticks = ask(told, f"/monitoring/drift/{MODEL}/history?window=1h")["samples"]
    version = first_version(told)
    of_first = [tick for tick in ticks if tick["model_version"] == version]
    steps = ask(told, f"/monitoring/history?model_name={MODEL}&window=15m&points=72")
    errors = [point["error_rate"] for point in steps["models"][MODEL]["points"]]
    minutes = f"/monitoring/quality/{MODEL}?window=15m"
    decayed = ask(told, f"{minutes}&version={version}")

    assert of_first[0]["drifts"] == []  # normal traffic
    assert any("mean_shift" in tick["drifts"] for tick in of_first)  # the campaign
    assert decayed["calibration_ratio"] > 1  # the decay
    assert max(error for error in errors if error is not None) > 20  # the burst
    assert errors[-1] == 0  # its end
    assert ticks[-1]["model_version"] > version  # the release
    assert ticks[-1]["drifts"] == []
    assert ask(told, "/monitoring/health")["status"] == "healthy"


def test_mlflow_tells_of_every_chapter(told: Demo) -> None:
    client = MlflowClient(told.address("MLflow"))
    experiment = client.get_experiment_by_name("ctr_prediction_production")
    assert experiment is not None
    found = client.search_runs(
        [experiment.experiment_id],
        f"tags.`ctr.kind` = 'monitoring' and tags.model_name = '{MODEL}'",
    )
    before, after = sorted(found, key=lambda run: str(run.data.tags["model_version"]))

    def values(run: Any, name: str) -> list[float]:  # noqa: ANN401 - MLflow's own
        return [point.value for point in client.get_metric_history(run.info.run_id, name)]

    assert set(values(before, "drift_detected")) == {0.0, 1.0}
    assert max(values(before, "error_rate")) > 20
    assert {0.0, 1.0, 2.0} <= set(values(before, "health_status"))
    assert values(after, "health_status")[-1] == 0.0
    assert max(values(after, "requests_in_window")) > 0


def test_prometheus_tells_of_drift(told: Demo) -> None:
    if shutil.which("prometheus") is None:
        assert "Prometheus   is not installed" in told.said()
        pytest.skip("prometheus is missing: sudo apt-get install prometheus")
    drift = f'ALERTS{{alertname="CtrDrift", model="{MODEL}", alertstate="firing"}}'
    query = f"count_over_time({drift}[1h])"
    answer = httpx.get(f"{told.address('Prometheus')}/api/v1/query", params={"query": query})

    assert answer.json()["data"]["result"], answer.text
    assert "Prometheus: CtrDrift xgboost is firing" in told.said()


def test_every_sign_was_seen_and_restarts_lost_nothing(told: Demo) -> None:
    said = told.said()
    restarts = re.findall(r"visitors had ([\d,]+) answers, /monitoring/stats counts ([\d,]+)", said)

    assert "not seen" not in said
    assert re.findall(r"^(\d)/6  ", said, re.MULTILINE) == list("123456")
    assert len(restarts) == 2
    assert all(answers == counted for answers, counted in restarts)
    # Nobody looks: lines, no bars.
    assert "\r" not in said


def test_a_second_demo_in_the_same_folder_is_refused(told: Demo) -> None:
    refused = subprocess.run(
        command(told.folder), cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert refused.returncode == 1
    assert "another demo is running" in refused.stderr
    assert "--folder" in refused.stderr
    assert ask(told, "/healthz")["status"] == "alive"


def test_a_port_that_is_taken_is_named_with_its_flag(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        refused = subprocess.run(
            [*command(tmp_path / "demo"), "--mlflow-port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    assert refused.returncode == 1
    assert f"port {port} cannot be had" in refused.stderr
    assert "--mlflow-port" in refused.stderr


def test_ctrl_c_in_a_chapter_ends_everything_and_leaves_the_terminal_as_it_was(
    told: Demo, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(told.folder / "models", folder / "models")
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    settings = termios.tcgetattr(its)
    with ThreadPoolExecutor(1) as aside:
        reader = aside.submit(record, ours, tmp_path / "demo.txt")
        try:
            with running_demo(folder, terminal=its) as demo:
                demo.wait_for("1/6  Normal traffic", seconds=STARTED_WITHIN_SECONDS)
                demo.wait_for("MLflow: requests in a window", seconds=STARTED_WITHIN_SECONDS)
                addresses = [demo.address("the page"), demo.address("MLflow")]
                started = descendants(demo.process.pid)
                status = demo.end()
                after = termios.tcgetattr(its)
        finally:
            os.close(its)
        reader.result()
        said = demo.said()

    assert status == 0
    assert any("-m bridge run" in line for line in started.values()), started
    assert any("mlflow" in line for line in started.values()), started
    assert [line for pid, line in started.items() if Path(f"/proc/{pid}").exists()] == []
    for address in addresses:
        url = httpx.URL(address)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((url.host, url.port or 0))
    assert after == settings
    assert "training" not in said  # there were models
    assert " of 40 s" in said  # a bar
    assert said.rstrip().endswith("nothing is left running")


def record(terminal: int, file: Path) -> None:
    """Write what a terminal shows to a file, until nobody has it open any more."""
    with file.open("ab", buffering=0) as written:
        while True:
            try:
                shown = os.read(terminal, 1 << 16)
            except OSError:
                break
            if not shown:
                break
            written.write(shown)
    os.close(terminal)


def test_being_told_to_end_while_models_are_trained_ends_the_training(tmp_path: Path) -> None:
    with running_demo(tmp_path / "demo") as demo:
        demo.wait_for("training on", seconds=STARTED_WITHIN_SECONDS)
        started = descendants(demo.process.pid)
        status = demo.end(signal.SIGTERM)

    assert status == 0
    assert [line for pid, line in started.items() if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("obeys", [True, False])
def test_a_program_that_does_not_end_when_asked_is_killed_and_that_is_known(
    tmp_path: Path, *, obeys: bool
) -> None:
    answer = "SIG_DFL" if obeys else "SIG_IGN"
    words = (
        f"import signal as s; s.signal(s.SIGINT, s.{answer}); print('up', flush=True); s.pause()"
    )
    program = Program.start(
        "stubborn", [sys.executable, "-c", words], folder=tmp_path, environment=os.environ
    )
    wait_until(lambda: program.last_words() == "up", seconds=30, what="the program is up")

    assert program.end(within_seconds=20.0 if obeys else 0.1) is obeys
    assert program.process.returncode == -(signal.SIGINT if obeys else signal.SIGKILL)
