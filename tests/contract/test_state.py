"""The state store keeps its promises over SQLite and over PostgreSQL alike."""

import signal
import sqlite3
import time
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from postgres import PASSWORD, PostgreSQL
from sqlalchemy import Connection, inspect, select, text
from state_processes import locked, query, release_together, start
from stored_readings import EVER, SCOPE, reading, served, ticks_of

from service.monitoring.baseline import Baseline
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import Effects
from service.monitoring.drift.sample import DriftSample
from service.state.database import Database
from service.state.errors import StateError, StateUnavailableError
from service.state.schema import MIGRATIONS, keyed_values, migrate
from service.state.store import State, open_state

# What drift detection said


def said(at: float, log_evidence: float = 1.5) -> DriftSample:
    return DriftSample(
        at=at,
        model_version="1",
        log_evidence=log_evidence,
        effects=Effects(mean_shift=0.1 + 0.2, shape_distance=None),
        standing=(DriftKind.SHAPE_CHANGE,),
    )


def test_samples_of_drift_come_back_as_they_were_by_model_and_span(state: State) -> None:
    samples = state.drift_samples(SCOPE)
    for tick in (30, 15, 45):
        samples.append(tick, "xgboost", said(tick + 0.25))
    samples.append(30, "logistic", said(30))
    state.drift_samples("instance:host2").append(30, "xgboost", said(30))

    assert samples.between("xgboost", 15, 30) == [said(15.25), said(30.25)]


def test_the_first_sample_of_a_tick_stands(state: State) -> None:
    samples = state.drift_samples(SCOPE)
    samples.append(15, "xgboost", said(15.1))
    samples.append(15, "xgboost", said(15.9))

    assert samples.between("xgboost", 0, 100) == [said(15.1)]


def test_samples_are_thinned_to_minutes_then_to_nothing(state: State) -> None:
    samples = state.drift_samples(SCOPE)
    for tick in range(0, 300, 15):
        samples.append(tick, "xgboost", said(tick))
    samples.thin(300, ticks_kept_seconds=60, history_seconds=180)

    kept = [sample.at for sample in samples.between("xgboost", 0, 300)]
    assert kept == [120, 180, 240, 255, 270, 285]


def test_a_scope_that_nobody_writes_any_more_can_be_forgotten(state: State) -> None:
    for scope, tick in [("gone", 100), ("here", 100), ("here", 900)]:
        state.history(scope).append(tick, reading(tick, epoch=tick - 1, served=1))

        state.drift_samples(scope).append(tick, "xgboost", said(tick))

    state.forget_silent_scopes(since=500)

    assert ticks_of(state.history("gone")) == []
    assert ticks_of(state.history("here")) == [100, 900]
    assert state.drift_samples("gone").between("xgboost", 0, 1000) == []
    assert len(state.drift_samples("here").between("xgboost", 0, 1000)) == 2


# Baselines


def baseline(**changes: object) -> Baseline:
    typed = Baseline(
        model_name="xgboost",
        model_version="1",
        mean_prediction=0.1 + 0.2,
        std_prediction=0.05,
        source="request",
        created_at=datetime(2026, 11, 23, 2, 30, 0, 123, tzinfo=UTC),
        created_by="müller",
    )
    return replace(typed, **changes)  # type: ignore[arg-type]


def test_the_newest_baseline_of_a_model_version_is_in_force(state: State) -> None:
    first = state.baselines.save(baseline())
    second = state.baselines.save(baseline(mean_prediction=0.25))
    state.baselines.save(baseline(model_version="2"))
    state.baselines.save(baseline(model_name="logistic_regression"))

    active = state.baselines.active("xgboost", "1")

    assert active is not None
    assert active.revision == second > first
    assert active.baseline.to_json() == baseline(mean_prediction=0.25).to_json()
    assert state.baselines.active("xgboost", "3") is None
    listed = state.baselines.revisions("xgboost")
    assert [row.baseline.model_version for row in listed] == ["1", "1", "2"]
    assert [row.revision for row in listed][:2] == [first, second]


def test_a_baseline_is_seen_by_another_process_at_once(url: str, state: State) -> None:
    with open_state(url) as other:
        revision = state.baselines.save(baseline())
        seen = other.baselines.active("xgboost", "1")

    assert seen is not None
    assert seen.revision == revision


# Values


def test_a_value_is_replaced_as_a_whole(state: State) -> None:
    assert state.values.load("a", "verdicts") is None

    state.values.save("a", "verdicts", b"\x00long")
    state.values.save("a", "verdicts", b"\xff")
    state.values.save("b", "verdicts", b"other")

    assert state.values.load("a", "verdicts") == b"\xff"


def test_a_value_that_nobody_here_can_read_is_none(state: State) -> None:
    state.values.save("a", "seven", b"7")
    state.values.save("a", "text", b"seven")
    state.values.save("a", "bytes", b"\xff")

    read = {key: state.values.read("a", key, int) for key in ("seven", "text", "bytes", "nothing")}

    assert read == {"seven": 7, "text": None, "bytes": None, "nothing": None}


# Processes, threads, crashes


WRITE = """
import sys
from service.monitoring.snapshot import Series, Snapshot
from service.state.store import open_state

with open_state(sys.argv[1]) as state:
    history = state.history("instance:host1")
    for tick in range(100, 10**6):
        counters = {Series("c_total", (("le", str(i)),)): float(tick + i) for i in range(200)}
        history.append(tick, Snapshot(at=tick, epoch=90, counters=counters, gauges={}))
        print(tick, flush=True)
"""


def test_what_was_stored_is_there_after_the_writer_was_killed(url: str) -> None:
    with start(WRITE, url) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        last = int([*said, *writer.stdout][-1])

    with open_state(url) as state:
        rows = list(state.history(SCOPE).ticks(*EVER))
        state.history(SCOPE).append(10**6, reading(10**6, epoch=90, served=1))

    # One more may be there: stored, but killed before it could say so.
    assert [row.tick for row in rows] in (
        list(range(100, last + 1)),
        list(range(100, last + 2)),
    )
    assert all(min(row.snapshot.counters.values()) == row.tick for row in rows)
    assert all(len(row.snapshot.counters) == 200 for row in rows)


OPEN = """
import sys
from service.state.store import open_state

print("ready", flush=True)
sys.stdin.readline()
with open_state(sys.argv[1]) as state:
    state.values.save("scope", sys.argv[2], b"here")
print("opened")
"""


def test_eight_processes_can_open_a_new_database_at_once(url: str) -> None:
    processes = [start(OPEN, url, str(i)) for i in range(8)]

    assert release_together(processes) == ["opened\n"] * 8
    assert query(url, "SELECT count(*) FROM schema_version") == 1
    assert query(url, "SELECT count(*) FROM keyed_values") == 8


def test_threads_share_one_state(state: State) -> None:
    def work(thread: int) -> None:
        history = state.history(f"thread:{thread}")
        for tick in range(1, 31):
            history.append(tick, reading(tick, epoch=0.5, served=tick))
            state.values.save("threads", str(thread), bytes([tick]))
            assert served(history.window_rows(tick, reading(tick, epoch=0.5, served=0))) == [tick]
        history.thin(10**6)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert [state.values.load("threads", str(i)) for i in range(8)] == [bytes([30])] * 8


def test_a_locked_database_is_an_error_in_time_and_works_afterwards(url: str) -> None:
    with open_state(url, timeout_seconds=0.5) as state:
        history = state.history(SCOPE)
        history.append(100, reading(100, epoch=90, served=1))
        with locked(url):
            began = time.monotonic()
            with pytest.raises(StateUnavailableError, match=r"lock"):
                history.append(105, reading(105, epoch=95, served=2))
            assert time.monotonic() - began < 5
            assert served(history.window_rows(100, reading(105, epoch=90, served=2))) == [1]
        assert history.last_epoch() == 90  # Nothing was half-written.
        history.append(110, reading(110, epoch=90, served=3))

        assert ticks_of(history) == [100, 110]


def test_the_state_can_be_opened_while_another_process_writes(url: str) -> None:
    open_state(url).close()

    with locked(url), open_state(url, timeout_seconds=0.5) as state:
        assert state.values.load("a", "b") is None


# Versions and refusals


def test_the_state_of_a_newer_release_is_refused(url: str) -> None:
    open_state(url).close()
    query(url, "UPDATE schema_version SET version = 99 RETURNING 1")

    with pytest.raises(StateError, match=r"newer release .*99"):
        open_state(url)


def test_migrations_run_in_order_once_and_all_or_nothing(url: str) -> None:
    def add(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE leases ADD COLUMN note TEXT"))

    def fill(connection: Connection) -> None:
        connection.execute(text("INSERT INTO leases VALUES ('a', 'b', 1.0, 'migrated')"))

    def fail(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        raise RuntimeError("the third step fails")

    with closing(Database.open(url, 5.0)) as database:
        with database.writing() as connection:
            migrate(connection, [*MIGRATIONS, add, fill])
        with database.writing() as connection:
            migrate(connection, [*MIGRATIONS, add, fill])
        with pytest.raises(RuntimeError), database.writing() as connection:
            migrate(connection, [*MIGRATIONS, add, fill, fail])
        with database.reading() as connection:
            assert connection.scalar(text("SELECT note FROM leases")) == "migrated"
            assert (
                connection.scalar(text("SELECT version FROM schema_version")) == len(MIGRATIONS) + 3
            )
            assert not connection.dialect.has_table(connection, "half")


def test_the_first_releases_tables_become_those_of_this_one(url: str) -> None:
    def tables(connection: Connection) -> dict[str, list[tuple[str, str, bool]]]:
        found = inspect(connection)
        return {
            table: sorted(
                (c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)
            )
            for table in found.get_table_names()
        }

    with closing(Database.open(url, 5.0)) as database:
        with database.writing() as connection:
            new = tables(connection)
            first = {
                *("schema_version", "layouts", "epochs", "snapshots", "baselines", "leases"),
                "keyed_values",
            }
            for table in sorted(new.keys() - first):
                connection.execute(text(f"DROP TABLE {table}"))
            connection.execute(text("UPDATE schema_version SET version = 1"))
        with database.writing() as connection:
            migrate(connection)
        with database.reading() as connection:
            assert tables(connection) == new


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    file.write_text("these are my notes, not a database\n" * 100)
    content = file.read_bytes()

    with pytest.raises(StateError, match=r"state\.db is damaged or not a database"):
        open_state(f"sqlite:///{file}")

    assert file.read_bytes() == content


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailableError, match=r"nowhere/state\.db .*unable to open"):
        open_state(f"sqlite:///{tmp_path}/nowhere/state.db")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://me:hush@host/db",
        "nonsense hush",
        "postgresql://me:hu/sh@host:hush/db",
        "oracle7://me:hush@host/db",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(StateError) as refused:
        open_state(url)

    assert "hush" not in "".join(traceback.format_exception(refused.value))
    assert "state" in str(refused.value)


def test_a_refused_password_is_not_in_the_message(postgres: PostgreSQL) -> None:
    url = postgres.url("postgres").replace("s3cret", "wr0ng")

    with pytest.raises(StateUnavailableError, match="authentication failed") as refused:
        open_state(url)

    told = "".join(traceback.format_exception(refused.value))
    assert "wr0ng" not in told
    assert PASSWORD not in told


def test_a_server_that_was_down_is_used_again_when_it_is_back(postgres: PostgreSQL) -> None:
    with open_state(postgres.create_database("restarts"), timeout_seconds=1) as state:
        state.values.save("a", "b", b"before")
        postgres.stop()
        try:
            with pytest.raises(StateUnavailableError, match=r"127\.0\.0\.1") as down:
                state.values.load("a", "b")
        finally:
            postgres.start()

        assert PASSWORD not in "".join(traceback.format_exception(down.value))
        assert state.values.load("a", "b") == b"before"
        # Connections that broke while nobody used them are not handed out.
        postgres.stop()
        postgres.start()
        assert state.values.load("a", "b") == b"before"


@pytest.mark.parametrize("table", ["layouts", "snapshots"])
@pytest.mark.parametrize(
    "damage", [b"", b"\xff" * 40, zlib.compress(b"{}"), zlib.compress(b"[[1]]")]
)
def test_a_damaged_snapshot_is_refused_by_its_tick(
    tmp_path: Path, table: str, damage: bytes
) -> None:
    file = tmp_path / "state.db"
    with open_state(file) as state:
        state.history(SCOPE).append(100, reading(100, epoch=90, served=1))
    column = "content" if table == "layouts" else "counters"
    with closing(sqlite3.connect(file)) as stranger, stranger:
        stranger.execute(f"UPDATE {table} SET {column} = ?", (damage,))  # noqa: S608 - two constants

    with open_state(file) as state, pytest.raises(StateError, match=r"stored for 100 is damaged"):
        state.history(SCOPE).at_boundary(100)


def test_a_server_that_hangs_keeps_nobody_waiting_for_ever(postgres: PostgreSQL) -> None:
    with open_state(postgres.create_database("hangs"), timeout_seconds=0.2) as state:
        state.values.save("a", "b", b"before")
        began = time.monotonic()
        with postgres.paused():
            with pytest.raises(StateUnavailableError, match=r"127\.0\.0\.1"):
                state.values.save("a", "b", b"meanwhile")
            with pytest.raises(StateUnavailableError, match=r"127\.0\.0\.1"):
                state.values.load("a", "b")
        assert time.monotonic() - began < 10

        state.values.save("a", "b", b"after")
        assert state.values.load("a", "b") == b"after"


def test_a_server_that_hangs_in_the_midst_of_a_transaction_leaves_nothing_of_it(
    postgres: PostgreSQL,
) -> None:
    url = postgres.create_database("hangs_amidst")
    open_state(url).close()
    database = Database.open(url, 0.2)

    def write(content: bytes) -> None:
        with database.writing() as connection:
            connection.execute(
                keyed_values.insert().values(scope="a", key=content.decode(), content=content)
            )
            if content == b"half":
                pausing.enter_context(postgres.paused())
            connection.execute(select(keyed_values))

    with ExitStack() as pausing, pytest.raises(StateUnavailableError, match="has not answered"):
        write(b"half")

    write(b"whole")
    assert query(url, "SELECT count(*) FROM keyed_values") == 1
    database.close()
