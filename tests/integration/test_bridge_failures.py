"""What goes wrong with MLflow delays the history, and never spoils it."""

import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
from bridge_process import SCOPE, bury, environment, nursery
from crashing_bridge import CRASHED
from fabricated_history import (
    MODELS,
    NAMING,
    FabricatedHistory,
    Fact,
    StoredRun,
    audit,
    stored_facts,
    stored_runs,
)
from killable_mlflow import MlflowServer, run_mlflow, running_mlflow
from ports import free_port
from prometheus_server import wait_until

from bridge.mlflow_tracking import MlflowTracking
from bridge.sending import Sender
from bridge.tracking_uri import tracking_store
from service.monitoring.tracking import Entry, EntryKind, Point
from service.state.bridge_statuses import BridgeStatuses
from service.state.outbox import Outbox
from service.state.store import State, open_state

pytestmark = pytest.mark.integration
LONGEST_CALL_SECONDS = 6.5


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def outbox(state: State) -> Outbox:
    return state.outbox(SCOPE)


@pytest.fixture
def history(outbox: Outbox) -> FabricatedHistory:
    return FabricatedHistory(outbox)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("mlflow")
    with running_mlflow(folder, f"sqlite:///{folder}/mlflow.db") as running:
        yield running


class Patience:
    """A clock that jumps over every pause, so that a test need not wait for it."""

    def __init__(self) -> None:
        self._seconds = count(step=60)

    def __call__(self) -> float:
        return float(next(self._seconds))


def sender_to(uri: str, outbox: Outbox, folder: Path, *, experiment: str = "ctr") -> Sender:
    """The real parts, without a process."""
    return Sender(
        outbox=outbox,
        tracking=MlflowTracking(tracking_store(uri, folder), experiment, doubt_seconds=8),
        holds_lease=lambda: True,
        monotonic=Patience(),
    )


def send_all(sender: Sender, outbox: Outbox, *, seconds: float = 60) -> None:
    def all_is_sent() -> bool:
        sender.send()
        return not outbox.backlog().entries

    wait_until(all_is_sent, seconds=seconds, what="the outbox is empty")


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


class Tracked:
    """One experiment on the shared server."""

    def __init__(self, server: MlflowServer, name: str) -> None:
        self.server = server
        self.name = name
        self.client = server.client()

    @property
    def id(self) -> str:
        found = self.client.get_experiment_by_name(self.name)
        assert found is not None
        return str(found.experiment_id)

    def audit(self, history: FabricatedHistory) -> None:
        url, experiment_id = self.server.store_uri, int(self.id)
        audit(history, stored_facts(url, experiment_id), stored_runs(url, experiment_id))


@pytest.fixture
def tracked(server: MlflowServer, request: pytest.FixtureRequest) -> Tracked:
    return Tracked(server, request.node.name)


@pytest.fixture
def sender(tracked: Tracked, outbox: Outbox, tmp_path: Path) -> Sender:
    return sender_to(tracked.server.url, outbox, tmp_path, experiment=tracked.name)


# Servers that do not answer


def test_a_server_that_refuses_connections_costs_moments(
    outbox: Outbox, history: FabricatedHistory, tmp_path: Path
) -> None:
    history.freeze(2)
    sender = sender_to(f"http://127.0.0.1:{free_port()}", outbox, tmp_path)

    assert seconds_of(sender.send) < 2

    assert sender.failures == {"unreachable": 1}
    assert "refused" in str(sender.problem)
    assert outbox.backlog().entries == 4


def test_a_server_that_accepts_and_never_answers_costs_seconds(
    outbox: Outbox, history: FabricatedHistory, tmp_path: Path
) -> None:
    history.freeze(2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = sender_to(f"http://127.0.0.1:{silent.getsockname()[1]}", outbox, tmp_path)

        assert seconds_of(sender.send) < LONGEST_CALL_SECONDS

    assert sender.failures == {"unreachable": 1}
    assert outbox.backlog().entries == 4


def test_a_server_that_stops_answering_costs_seconds_and_no_point(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    history.freeze(2)
    send_all(sender, outbox)
    history.freeze(40)

    with tracked.server.paused():
        assert seconds_of(sender.send) < LONGEST_CALL_SECONDS
        assert seconds_of(sender.send) < LONGEST_CALL_SECONDS
    assert sender.failures == {"unreachable": 2}

    send_all(sender, outbox)
    tracked.audit(history)


class Overloaded(BaseHTTPRequestHandler):
    """Answers as a proxy without a server behind it does."""

    calls: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.calls.append(self.path)
        self.send_error(503)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_server_that_is_overloaded_is_asked_once_and_later_again(
    outbox: Outbox, history: FabricatedHistory, tmp_path: Path
) -> None:
    history.freeze(2)
    with ThreadingHTTPServer(("127.0.0.1", 0), Overloaded) as proxy:
        threading.Thread(target=proxy.serve_forever).start()
        try:
            sender = sender_to(f"http://127.0.0.1:{proxy.server_port}", outbox, tmp_path)
            assert seconds_of(sender.send) < 2
        finally:
            proxy.shutdown()

    assert "503" in str(sender.problem)
    assert len(Overloaded.calls) == 1
    assert outbox.backlog().entries == 4


def test_a_server_that_does_not_know_its_own_name_is_told_apart(
    outbox: Outbox, history: FabricatedHistory, tmp_path: Path
) -> None:
    history.freeze(2)
    options = ("--allowed-hosts", "ctr.example")
    with running_mlflow(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", *options) as server:
        sender = sender_to(server.url, outbox, tmp_path)
        sender.send()

    assert sender.failures == {"forbidden": 1}
    assert re.search(r"Invalid Host header|403", str(sender.problem))
    assert outbox.backlog().entries == 4


def test_a_bridge_without_the_lease_says_nothing(
    outbox: Outbox, history: FabricatedHistory, tmp_path: Path
) -> None:
    history.freeze(2)
    database = tmp_path / "mlflow.db"
    sender = Sender(
        outbox=outbox,
        tracking=MlflowTracking(tracking_store(f"sqlite:///{database}", tmp_path), "ctr"),
        holds_lease=lambda: False,
    )

    assert sender.send() == 0

    assert outbox.backlog().entries == 4
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


# Runs and experiments that are taken away


def test_a_deleted_run_is_restored_and_complete(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    history.freeze(3)
    send_all(sender, outbox)
    [first, _] = tracked.client.search_runs([tracked.id])
    tracked.client.delete_run(first.info.run_id)
    history.freeze(3)

    send_all(sender, outbox)

    assert sender.failures == {"run_deleted": 1}
    tracked.audit(history)


def test_a_run_that_was_wiped_out_is_written_anew_from_its_beginning(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    history.freeze(3)
    send_all(sender, outbox)
    [first, _] = tracked.client.search_runs([tracked.id])
    tracked.client.delete_run(first.info.run_id)
    wipe_out(tracked.server, "--run-ids", first.info.run_id)
    history.freeze(3)

    send_all(sender, outbox)

    tracked.audit(history)


def test_a_deleted_experiment_is_restored_and_complete(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    history.freeze(3)
    send_all(sender, outbox)
    tracked.client.delete_experiment(tracked.id)
    history.freeze(3)

    send_all(sender, outbox)

    tracked.audit(history)


def test_an_experiment_that_was_wiped_out_is_written_anew_with_all_its_runs(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    history.freeze(3)
    send_all(sender, outbox)
    gone = tracked.id
    tracked.client.delete_experiment(gone)
    wipe_out(tracked.server, "--experiment-ids", gone)
    history.freeze(3)

    send_all(sender, outbox)

    tracked.audit(history)


def wipe_out(server: MlflowServer, *what: str) -> None:
    run_mlflow(
        *("gc", "--backend-store-uri", server.store_uri, "--tracking-uri", server.url, *what)
    )


# What MLflow does not take


def test_a_damaged_entry_is_set_aside_and_all_others_are_sent(
    tracked: Tracked,
    sender: Sender,
    outbox: Outbox,
    history: FabricatedHistory,
    tmp_path: Path,
) -> None:
    history.freeze(5)
    with closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
        [[damaged, run_key, step, content]] = database.execute(
            "SELECT id, run_key, step, content FROM outbox ORDER BY id LIMIT 1 OFFSET 2"
        )
        flipped = bytes([*content[:20], content[20] ^ 1, *content[21:]])
        database.execute("UPDATE outbox SET content = ? WHERE id = ?", [flipped, damaged])

    send_all(sender, outbox)

    lost = {f for f in history.frozen if (f.run_key, f.step) == (run_key, step)}
    assert lost
    history.frozen -= lost
    tracked.audit(history)
    assert outbox.backlog().refused == 1
    assert "damaged" in outbox.problems()[f"{run_key} window {step}"]


def test_a_refused_point_blocks_nobody_and_its_entrys_others_are_sent(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    history.freeze(2)
    run = NAMING.of_day(MODELS[0], "1", history.next_slot)
    step, at = 7, history.next_slot.end * 1000
    good = Point("mean_prediction", 0.25, at, step)
    entry = Entry(
        run_key=run.key,
        kind=EntryKind.SAMPLES,
        step=step,
        points=[good, Point("100%", 1, at, step)],
    )
    outbox.freeze([run], [entry], at=1.8e9)
    history.frozen.add(Fact(run.key, good.name, step, at, good.value))
    history.freeze(2)

    send_all(sender, outbox)

    assert outbox.backlog().refused == 1
    [(name, problem)] = outbox.problems().items()
    assert name == f"{run.key} samples 7"
    assert "100%" in problem
    tracked.audit(history)


def test_samples_whose_day_was_pruned_meanwhile_are_sent_all_the_same(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    slot = history.next_slot
    samples = NAMING.samples_of(NAMING.of_day(MODELS[0], "1", slot), slot)
    point = Point("xgboost_prediction", 0.25, slot.end * 1000, 1)
    entry = Entry(run_key=samples.key, kind=EntryKind.SAMPLES, step=1, points=[point])
    outbox.freeze([samples], [entry], at=1.8e9)

    send_all(sender, outbox)

    [run] = tracked.client.search_runs([tracked.id])
    assert run.data.metrics == {"xgboost_prediction": 0.25}


def test_samples_are_shown_within_their_day(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    slot = history.next_slot
    day = NAMING.of_day(MODELS[0], "1", slot)
    samples = NAMING.samples_of(day, slot)
    point = Point("xgboost_prediction", 0.25, slot.end * 1000, 1)
    entry = Entry(run_key=samples.key, kind=EntryKind.SAMPLES, step=1, points=[point])
    outbox.freeze([day, samples], [entry], at=1.8e9)

    send_all(sender, outbox)

    runs = {run.data.tags["ctr.run_key"]: run for run in tracked.client.search_runs([tracked.id])}
    assert runs[samples.key].data.tags["mlflow.parentRunId"] == runs[day.key].info.run_id


def test_a_locked_tracking_database_delays_and_makes_no_second_run(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    sender.send()  # Connects.
    history.freeze(3)
    with closing(sqlite3.connect(database_of(tracked.server))) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            assert seconds_of(sender.send) < LONGEST_CALL_SECONDS
        other.rollback()
    assert sender.failures == {"unreachable": 1, "in_doubt": 1}

    send_all(sender, outbox)

    tracked.audit(history)


def test_a_full_disk_of_the_server_delays(
    tracked: Tracked, sender: Sender, outbox: Outbox, history: FabricatedHistory
) -> None:
    history.freeze(3)
    send_all(sender, outbox)
    history.freeze(20)

    with tracked.server.full_disk():
        sender.send()
        assert sender.problem is not None
        sender.send()
    print(f"\n{sender.problem}")
    assert outbox.backlog().entries

    send_all(sender, outbox)
    tracked.audit(history)


def database_of(server: MlflowServer) -> str:
    return server.store_uri.removeprefix("sqlite:///")


# A long outage


def test_a_day_without_mlflow_is_made_up_for_within_a_minute(
    tracked: Tracked, state: State, history: FabricatedHistory, tmp_path: Path
) -> None:
    tracked.server.kill()
    history.skip_to(20)
    history.freeze(288)
    variables = environment(
        f"sqlite:///{tmp_path}/state.db",
        tracked.server.url,
        {"MLFLOW_EXPERIMENT_NAME": tracked.name},
    )
    bridge = subprocess.Popen([sys.executable, "-m", "bridge", "run"], cwd=tmp_path, env=variables)
    try:
        wait_until(lambda: failing(state), seconds=60, what="the bridge notices")
        tracked.server.start()
        began = time.monotonic()
        outbox = state.outbox(SCOPE)
        wait_until(lambda: not outbox.backlog().entries, seconds=60, what="all is made up for")
        took = time.monotonic() - began
    finally:
        bridge.terminate()
        assert bridge.wait(30) == 0

    tracked.audit(history)
    print(f"\n24 h of two models, {len(history.frozen)} points, written {took:.1f} s after")


def failing(state: State) -> bool:
    status = BridgeStatuses(state.values, SCOPE).load()
    return status is not None and sum(status.failures.values()) >= 3


# The retired file store, and SQLite without a server


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_without_a_server_crashes_lose_and_double_nothing(
    scheme: str, state: State, history: FabricatedHistory, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/mlflow.db"
    uri = database if scheme == "sqlite" else "file:./mlruns"
    settings = {"CTR_MLFLOW_FILE_STORE": "strict"}
    with nursery(tmp_path, f"sqlite:///{tmp_path}/state.db", uri, settings=settings) as bridges:
        for life in range(6):
            history.skip_to(23)
            history.freeze(15)
            bury(state)
            after = ("tell", "find_or_create", "finish")[life % 3]
            bridge = bridges.start(after=after, calls=1 + life // 3 % 2)
            assert bridges.wait(bridge.pid) == CRASHED
        bury(state)
        bridge = bridges.start()
        outbox = state.outbox(SCOPE)
        wait_until(lambda: not outbox.backlog().entries, seconds=60, what="the outbox is empty")
        bridge.stop()

    if scheme == "sqlite":
        audit(history, stored_facts(database), stored_runs(database))
    else:
        audit(history, *read_file_store(tmp_path / "mlruns"))


def read_file_store(folder: Path) -> tuple[Counter[Fact], list[StoredRun]]:
    facts: Counter[Fact] = Counter()
    runs: list[StoredRun] = []
    for file in folder.glob("*/*/meta.yaml"):
        meta = dict(line.split(": ", 1) for line in file.read_text().splitlines() if ": " in line)
        tag = file.parent / "tags" / "ctr.run_key"
        key = tag.read_text()
        ended = meta["end_time"]
        runs.append(
            StoredRun(
                key,
                meta["run_id"],
                {"1": "RUNNING", "3": "FINISHED"}[meta["status"]],
                None if ended == "null" else int(ended),
                meta["lifecycle_stage"],
            )
        )
        metrics = file.parent / "metrics"
        for metric in metrics.rglob("*"):
            if metric.is_file():
                name = str(metric.relative_to(metrics))
                for line in metric.read_text().splitlines():
                    at, value, step = line.split()
                    facts[Fact(key, name, int(step), int(at), float(value))] += 1
    return facts, runs
