"""Each trap that keeps runs from showing up is set, and the doctor names it."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import mlflow
import pytest
from mlflow_databases import make_newer, make_older_database
from mlflow_server import running_mlflow_server
from ports import free_port
from postgres import PASSWORD, PostgreSQL
from prometheus_server import wait_until
from service_process import ROOT, running_service

from bridge.doctor.examination import as_json, as_text, examine
from bridge.doctor.findings import Finding, Level
from bridge.doctor.store import space
from bridge.lease import LEASE_SECONDS, lease_name
from bridge.mlflow_tracking import RUN_KEY_TAG, MlflowTracking
from bridge.tracking_uri import tracking_store
from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.snapshot import Snapshot
from service.monitoring.tracking import Entry, EntryKind, Point, RunKind, TrackedRun
from service.state.bridge_statuses import BridgeStatuses
from service.state.store import State, open_state

pytestmark = pytest.mark.integration

EXPERIMENT = "ctr_prediction_production"
SCOPE = "instance:here"
RUN = TrackedRun(
    key="xgboost|v1|none:xgboost|instance:here|2026-11-22",
    kind=RunKind.MONITORING,
    name="xgboost v1 2026-11-22",
    model_name="xgboost",
    model_version="v1",
    day="2026-11-22",
    start_ms=1_795_305_600_000,
)

Examine = Callable[..., Mapping[str, Finding]]


@pytest.fixture
def diagnose(tmp_path: Path) -> Examine:
    """Examine an installation in the temporary folder."""

    def run(uri: str | None = None, **variables: str) -> Mapping[str, Finding]:
        given = {} if uri is None else {"MLFLOW_TRACKING_URI": uri}
        findings = examine({**environment(tmp_path), **given, **variables}, tmp_path)
        assert json.loads(as_json(findings))["checks"][0]["check"] == findings[0].check
        assert all(finding.found in as_text(findings) for finding in findings)
        return {finding.check: finding for finding in findings}

    return run


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """The state of a service that ran in the temporary folder."""
    (tmp_path / "var").mkdir()
    with open_state(tmp_path / "var" / "state.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in order."""
    folder = tmp_path_factory.mktemp("mlflow")
    with running_mlflow_server("sqlite:///mlflow.db", folder) as url:
        yield url


def environment(folder: Path) -> dict[str, str]:
    return {"CTR_STATE_DIR": str(folder / "var"), "CTR_INSTANCE": "here"}


def write_run(uri: str | None, folder: Path) -> str:
    """Write as the bridge does; gives the experiment's id."""
    tracking = MlflowTracking(tracking_store(uri, folder), EXPERIMENT)
    tracking.connect()
    tracking.find_or_create(RUN, None)
    assert tracking.experiment_id is not None
    return tracking.experiment_id


@contextmanager
def answering(status: int, body: str, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """Something that speaks HTTP, at an address where MLflow is expected."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response_only(status)
            sent = {"Date": formatdate(usegmt=True), "Content-Length": str(len(body))}
            for name, value in (sent | dict(headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer  # noqa: N815 - as the base class looks for them

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def doctor(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    path = f"{ROOT}{os.pathsep}{(env or {}).get('PYTHONPATH', '')}"
    return subprocess.run(
        [sys.executable, "-m", "bridge", "doctor", *arguments],
        cwd=folder,
        env={**plain, **environment(folder), **(env or {}), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_folder_in_which_nothing_ever_ran_has_no_problem(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json")

    report = json.loads(done.stdout)
    assert (done.returncode, report["worst"]) == (0, "warning"), done.stderr
    assert [check["check"] for check in report["checks"] if check["level"] == "warning"] == [
        "state"
    ]
    assert list(tmp_path.iterdir()) == []  # it looks, it makes nothing


def test_beside_a_service_that_works_there_is_nothing_to_say(
    tmp_path: Path, models_dir: Path
) -> None:
    env = {
        "CTR_BRIDGE_ENABLED": "true",
        "CTR_BRIDGE_WINDOW": "5",
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_INSTANCE": "here",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }
    with running_service(tmp_path / "var", models_dir, env=env):
        with open_state(tmp_path / "var" / "state.db") as state:
            statuses = BridgeStatuses(state.values, SCOPE)
            wait_until(
                lambda: (said := statuses.load()) is not None and said.last_success is not None,
                seconds=60,
                what="the bridge has reached MLflow",
            )
            wait_until(
                lambda: len(state.outbox(SCOPE).unclosed()) > 0,
                seconds=60,
                what="a window is over",
            )
            wait_until(
                lambda: state.outbox(SCOPE).backlog().entries == 0, seconds=60, what="it is sent"
            )
        done = doctor(tmp_path, "--json", env=env)

    report = json.loads(done.stdout)
    levels = {check["check"]: check["level"] for check in report["checks"]}
    assert (done.returncode, report["worst"]) == (0, "ok"), done.stdout
    assert {check for check, level in levels.items() if level == "skipped"} == {"clock", "version"}


def test_mlflow_that_cannot_be_imported_is_named_and_the_rest_still_examined(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "mlflow.py").write_text("raise ImportError('no MLflow here')\n")
    # Found before the installed one: as where the service runs with another Python.
    code = f"import sys; sys.path.insert(0, {str(broken)!r}); sys.path.insert(0, {str(ROOT)!r}); "
    code += "from bridge.__main__ import main; sys.exit(main(['doctor']))"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert "problem  driver" in done.stdout
    assert "no MLflow here" in done.stdout
    assert "pip install -r requirements.txt" in done.stdout
    assert "GiB free" in done.stdout


def test_a_driver_that_is_missing_is_named(diagnose: Examine) -> None:
    found = diagnose("postgresql+psycopg2://u:s3cret@127.0.0.1:1/d")

    assert found["driver"].level is Level.PROBLEM
    assert "psycopg2" in found["driver"].found
    assert "postgresql://" in found["driver"].todo
    assert "s3cret" not in as_text([*found.values()])


def test_a_misspelt_setting_is_named(diagnose: Examine) -> None:
    found = diagnose(CTR_STATE_DIRR="x")

    assert found["settings"].level is Level.PROBLEM
    assert "CTR_STATE_DIRR" in found["settings"].found


@pytest.mark.parametrize("uri", ["s3://bucket", "localhost:5000", "databricks"])
def test_a_uri_that_cannot_be_used_is_named_with_what_to_give(uri: str, diagnose: Examine) -> None:
    found = diagnose(uri)

    assert found["tracking URI"].level is Level.PROBLEM
    assert "sqlite:///mlflow.db" in found["tracking URI"].todo
    assert found["state"].level is Level.WARNING  # the rest is examined all the same


def test_the_uri_whose_dot_is_read_as_a_host_is_pointed_out(
    diagnose: Examine, tmp_path: Path
) -> None:
    found = diagnose("file://./mlruns")

    assert found["tracking URI"].level is Level.WARNING
    assert found["tracking URI"].todo == f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/mlflow.db"
    assert "retired" in found["file store"].found


def test_a_file_store_in_use_comes_with_the_way_out(diagnose: Examine, tmp_path: Path) -> None:
    tracking = MlflowTracking(tracking_store("./mlruns", tmp_path, strict_files=True), EXPERIMENT)
    tracking.connect()
    tracking.find_or_create(RUN, None)

    found = diagnose("./mlruns")

    assert found["runs"].found == "1, each once"
    assert found["file store"].level is Level.WARNING
    assert found["file store"].todo.startswith("mlflow migrate-filestore --source")
    assert found["page"].found.startswith("make ui")

    assert "mlflow ui --backend-store-uri" in diagnose()["file store"].todo


def test_a_store_that_mlflow_stumbles_over_is_a_finding(diagnose: Examine, tmp_path: Path) -> None:
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("name: Default\n")

    assert diagnose("./mlruns")["experiment"].level is Level.PROBLEM


def test_a_server_that_is_not_there_is_unreachable(diagnose: Examine) -> None:
    port = free_port()

    found = diagnose(f"http://user:s3cret@127.0.0.1:{port}")

    assert found["reachable"].level is Level.PROBLEM
    assert "wait" in found["reachable"].todo
    assert "s3cret" not in as_text([*found.values()])


def test_a_server_that_never_answers_is_given_up_after_three_seconds(diagnose: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        found = diagnose(f"http://127.0.0.1:{silent.getsockname()[1]}")
        seconds = time.monotonic() - begun

    assert found["reachable"].level is Level.PROBLEM
    assert "within 3 s" in found["reachable"].found
    assert 2.9 < seconds < 8


@pytest.mark.parametrize(
    ("status", "body"), [(404, '{"detail": "Not Found"}'), (503, "busy"), (200, "<html>hello")]
)
def test_something_else_at_the_address_is_not_taken_for_mlflow(
    status: int, body: str, diagnose: Examine
) -> None:
    with answering(status, body) as url:
        found = diagnose(url)

    assert found["reachable"].level is Level.PROBLEM
    assert f"not MLflow in order (status {status})" in found["reachable"].found


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in_asks_for_credentials(status: int, diagnose: Examine) -> None:
    with answering(status, "You are not authenticated.") as url:
        found = diagnose(url)

    assert found["reachable"].level is Level.OK
    assert found["credentials"].level is Level.PROBLEM
    assert "MLFLOW_TRACKING_USERNAME" in found["credentials"].todo


def test_a_clock_that_is_wrong_and_another_version_are_told(diagnose: Examine) -> None:
    past = {"Date": formatdate(time.time() - 600, usegmt=True)}
    with answering(200, "{}", past) as url:
        found = diagnose(url)

    assert found["clock"].level is Level.WARNING
    assert re.search(r"(599|6[0-2]\d) s behind", found["clock"].found)
    assert found["version"].level is Level.WARNING
    assert mlflow.__version__ in found["version"].found


def test_a_server_that_refuses_its_name_is_told_from_one_in_order(
    diagnose: Examine, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    arguments = ("--allowed-hosts", "mlflow.example")
    with running_mlflow_server("sqlite:///mlflow.db", folder, extra_args=arguments) as url:
        assert httpx.get(f"{url}/health").status_code == 200  # the trap: this one passes
        found = diagnose(url)

    assert found["host"].level is Level.PROBLEM
    assert '--allowed-hosts "127.0.0.1,127.0.0.1:*,' in found["host"].todo


def test_with_a_server_in_order_the_page_is_the_one_that_shows_runs(
    mlflow_server: str, diagnose: Examine, tmp_path: Path
) -> None:
    experiment_id = write_run(mlflow_server, tmp_path)

    found = diagnose(mlflow_server)

    in_order = ("reachable", "host", "credentials", "experiment", "runs", "clock", "version")
    assert {check: found[check].level for check in in_order} == dict.fromkeys(in_order, Level.OK)
    link = f"{mlflow_server}/#/experiments/{experiment_id}?workflowType=machine_learning"
    assert found["page"].found == link


def test_a_database_server_is_read_and_its_password_kept(
    diagnose: Examine, postgres: PostgreSQL, tmp_path: Path
) -> None:
    uri = postgres.create_database("doctor")
    fresh = diagnose(uri)
    write_run(uri, tmp_path)
    written = diagnose(uri)

    assert fresh["tables"].found == "not created yet"
    assert (written["tables"].level, written["runs"].found) == (Level.OK, "1, each once")
    assert "psycopg" in written["driver"].found
    assert PASSWORD not in as_text([*written.values()])


def test_older_and_newer_tables_are_told_apart(diagnose: Examine, tmp_path: Path) -> None:
    make_older_database(f"sqlite:///{tmp_path}/older.db")
    write_run("sqlite:///newer.db", tmp_path)
    make_newer(f"sqlite:///{tmp_path}/newer.db")

    older, newer = diagnose("sqlite:///older.db"), diagnose("sqlite:///newer.db")

    assert older["tables"].level is newer["tables"].level is Level.PROBLEM
    assert f"mlflow db upgrade sqlite:///{tmp_path}/older.db" in older["tables"].todo
    assert "a newer MLflow" in newer["tables"].found
    assert older["experiment"].level is Level.SKIPPED


def test_a_database_in_order_is_left_as_it_is(diagnose: Examine, tmp_path: Path) -> None:
    experiment_id = write_run(None, tmp_path)
    before = (tmp_path / "mlflow.db").read_bytes()

    found = diagnose()

    assert found["experiment"].found == f"{EXPERIMENT} has the id {experiment_id}"
    assert found["runs"].found == "1, each once"
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_an_experiment_that_is_missing_or_deleted_is_told(
    diagnose: Examine, tmp_path: Path
) -> None:
    experiment_id = write_run(None, tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")

    assert diagnose(MLFLOW_EXPERIMENT_NAME="another")["experiment"].level is Level.WARNING

    client.delete_experiment(experiment_id)
    deleted = diagnose()["experiment"]
    assert deleted.level is Level.PROBLEM
    assert f"mlflow experiments restore --experiment-id {experiment_id}" in deleted.todo


def test_two_runs_of_one_key_are_named(diagnose: Examine, tmp_path: Path) -> None:
    experiment_id = write_run(None, tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    second = client.create_run(experiment_id, tags={RUN_KEY_TAG: RUN.key}).info.run_id

    found = diagnose()["runs"]

    assert found.level is Level.WARNING
    assert RUN.key in found.found
    assert second in found.found


def say(state: State, tmp_path: Path, *, store: str | None = None, problem: str = "") -> None:
    """Hold the lease and speak, as a bridge does."""
    now = time.time()
    assert state.leases.acquire_or_renew(lease_name(SCOPE), "host:4711:a", now, LEASE_SECONDS)
    status = BridgeStatus(at=now, store=store or f"sqlite:///{tmp_path}/mlflow.db", problem=problem)
    BridgeStatuses(state.values, SCOPE).save(status)


def test_a_bridge_at_work_is_named(diagnose: Examine, state: State, tmp_path: Path) -> None:
    say(state, tmp_path)

    assert diagnose()["bridge"] == Finding("bridge", Level.OK, "host:4711:a is at work")


def test_without_a_bridge_nothing_is_written(diagnose: Examine, state: State) -> None:
    assert state.values is not None

    found = diagnose()["bridge"]
    assert found.level is Level.PROBLEM
    assert SCOPE in found.found
    assert "CTR_BRIDGE_ENABLED" in diagnose(CTR_BRIDGE_ENABLED="false")["bridge"].todo


def test_a_bridge_that_writes_elsewhere_or_cannot_write_is_a_problem(
    diagnose: Examine, state: State, tmp_path: Path
) -> None:
    say(state, tmp_path, store="http://elsewhere:5000")
    elsewhere = diagnose()["bridge"]
    say(state, tmp_path, problem="MLflow is down")
    stuck = diagnose()["bridge"]

    assert elsewhere.level is stuck.level is Level.PROBLEM
    assert "http://elsewhere:5000" in elsewhere.found
    assert "MLflow is down" in stuck.found


def test_a_bridge_that_holds_the_lease_in_silence_is_suspect(
    diagnose: Examine, state: State
) -> None:
    state.leases.acquire_or_renew(lease_name(SCOPE), "host:4711:a", time.time(), LEASE_SECONDS)

    assert diagnose()["bridge"].level is Level.WARNING


def entries(*names: str) -> Sequence[Entry]:
    at = 1_795_305_900_000
    return [
        Entry(
            run_key=RUN.key, kind=EntryKind.WINDOW, step=step, points=[Point(name, 0.0, at, step)]
        )
        for step, name in enumerate(names)
    ]


def test_a_backlog_is_a_problem_when_it_is_old(diagnose: Examine, state: State) -> None:
    outbox = state.outbox(SCOPE)
    outbox.freeze([RUN], entries("a", "b"), at=time.time() - 60)
    fresh = diagnose()["outbox"]
    outbox.freeze([replace(RUN, key="old")], [replace(entries("a")[0], run_key="old")], at=1000.0)
    old = diagnose()["outbox"]

    assert fresh.level is Level.OK
    assert fresh.found.startswith("2 points wait, the oldest for 6")
    assert old.level is Level.PROBLEM
    assert old.found.startswith("3 points wait")


def test_what_mlflow_refused_is_shown(diagnose: Examine, state: State) -> None:
    outbox = state.outbox(SCOPE)
    outbox.freeze([RUN], entries("a"), at=time.time())
    [waiting] = outbox.waiting(RUN.key, most_points=10)
    outbox.refuse(waiting.id, "Invalid metric name")

    found = diagnose()["refused"]

    assert found.level is Level.WARNING
    assert "Invalid metric name" in found.found


def test_the_first_window_is_said_to_come(diagnose: Examine, state: State) -> None:
    nothing = diagnose()["windows"]
    now = time.time()
    for at in (now - 30, now):
        snapshot = Snapshot(at=at, epoch=now - 30, counters={}, gauges={})
        state.history(SCOPE).append(at, snapshot)
    begun = diagnose()["windows"]

    assert nothing.level is Level.WARNING
    assert "CTR_INSTANCE" in nothing.todo
    assert begun.level is Level.OK
    assert begun.found.startswith("none is over yet; the next is over at ")


def test_a_service_that_does_not_run_or_windows_that_are_not_written_are_told(
    diagnose: Examine, state: State
) -> None:
    now = time.time()
    for at in (now - 4000, now - 1000):
        state.history(SCOPE).append(at, Snapshot(at=at, epoch=now - 4000, counters={}, gauges={}))
    stopped = diagnose()["windows"]
    state.history(SCOPE).append(now, Snapshot(at=now, epoch=now - 4000, counters={}, gauges={}))
    behind = diagnose()["windows"]

    assert stopped.level is behind.level is Level.WARNING
    assert "the service does not run" in stopped.found
    assert "none was written down yet" in behind.found


def test_state_that_cannot_be_read_is_a_problem(diagnose: Examine, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "state.db").write_text("not a database at all. " * 100)

    assert diagnose()["state"].level is Level.PROBLEM


def test_the_page_describes_every_check(diagnose: Examine, state: State) -> None:
    assert state.values is not None
    page = (ROOT / "docs" / "mlflow.md").read_text()
    with answering(200, "{}") as url:
        checks = {**diagnose(), **diagnose(url), **diagnose(CTR_TYPO="1")}

    described = re.findall(r"^\| `([^`]+)` \|", page.partition("| check |")[2], re.MULTILINE)
    assert sorted(described) == sorted(checks)


def test_space_that_runs_out_is_told_before_it_is_gone(tmp_path: Path) -> None:
    def free(gibibytes: float) -> Level:
        return space([tmp_path / "not" / "yet"], lambda _: int(gibibytes * (1 << 30))).level

    assert [free(2), free(0.5), free(0.05)] == [Level.OK, Level.WARNING, Level.PROBLEM]
