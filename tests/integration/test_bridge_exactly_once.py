"""Every frozen point is in MLflow exactly once, however bridge and server die."""

import os
import random
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bridge_process import SCOPE, BridgeProcess, Nursery, bury, holds_lease, nursery
from crashing_bridge import CRASHED
from fabricated_history import FabricatedHistory, audit, stored_facts, stored_runs
from killable_mlflow import MlflowServer, running_mlflow
from postgres import PostgreSQL
from prometheus_server import wait_until

from service.state.outbox import Outbox
from service.state.store import State, open_state

pytestmark = pytest.mark.integration

SCALE = int(os.environ.get("KILL_TEST_SCALE", "1"))
"""Many times the windows and the kills: a long run, by hand or by night."""
WINDOWS, KILLS, SERVER_KILLS = 600 * SCALE, 20 * SCALE, 4 * SCALE


@dataclass(frozen=True)
class Place:
    """A state, a tracking server, and bridges between them."""

    state: State
    outbox: Outbox
    server: MlflowServer
    database_url: str
    """Of the server."""
    bridges: Nursery
    history: FabricatedHistory

    def start_bridge(self, *, after: str = "", calls: int = 0) -> BridgeProcess:
        """Start a bridge where the last one is dead, and see it take the lease."""
        bury(self.state)
        bridge = self.bridges.start(after=after, calls=calls)
        self.wait_until_it_leads(bridge)
        return bridge

    def wait_until_it_leads(self, bridge: BridgeProcess) -> None:
        wait_until(
            lambda: holds_lease(self.state, bridge) or not bridge.is_running(),
            seconds=30,
            what="the bridge takes the lease",
        )

    def wait_until_something_is_sent(self) -> None:
        before = self.outbox.backlog().points
        wait_until(
            lambda: self.outbox.backlog().points < before, seconds=30, what="something is sent"
        )

    def wait_until_all_is_sent(self) -> None:
        wait_until(
            lambda: not self.outbox.backlog().entries, seconds=90, what="the outbox is empty"
        )

    def audit(self) -> None:
        audit(self.history, stored_facts(self.database_url), stored_runs(self.database_url))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    if request.param == "sqlite":
        state_url, store_url = f"sqlite:///{folder}/state.db", f"sqlite:///{folder}/mlflow.db"
    else:
        postgres = request.getfixturevalue("postgres")
        assert isinstance(postgres, PostgreSQL)
        state_url, store_url = (
            postgres.create_database(f"{name}_{uuid.uuid4().hex}").replace(
                "postgresql:", "postgresql+psycopg:"
            )
            for name in ("state", "mlflow")
        )
    with (
        running_mlflow(folder, store_url) as server,
        open_state(state_url) as state,
        nursery(folder, state_url, server.url) as bridges,
    ):
        outbox = state.outbox(SCOPE)
        yield Place(state, outbox, server, store_url, bridges, FabricatedHistory(outbox))


def test_no_point_is_lost_or_doubled_when_bridge_and_server_are_killed_at_random(
    place: Place,
) -> None:
    chance = random.Random(1)
    server_dies = set(chance.sample(range(KILLS), SERVER_KILLS))
    began = time.monotonic()
    for life in range(KILLS):
        place.history.freeze(WINDOWS // KILLS)
        bridge = place.start_bridge()
        if life in server_dies:
            _wait_for_the_server(place)
            place.wait_until_something_is_sent()
            place.server.kill()
            place.server.begin_to_start()
        time.sleep(chance.uniform(0.05, 0.8))  # The moment is meant to be any.
        bridge.kill()
    _wait_for_the_server(place)
    bridge = place.start_bridge()
    place.wait_until_all_is_sent()
    bridge.stop()

    place.audit()
    print(
        f"\n{len(place.history.frozen)} points in {len(place.history.run_keys)} runs, "
        f"{KILLS} bridges and {SERVER_KILLS} servers killed, in {time.monotonic() - began:.0f} s"
    )


@pytest.mark.parametrize("after", ["tell", "find_or_create", "finish"])
def test_no_point_is_lost_or_doubled_when_the_bridge_dies_before_it_can_remember(
    place: Place, after: str
) -> None:
    lives = 3 * SCALE
    for life in range(lives):
        place.history.skip_to(23)
        place.history.freeze(15)  # Two runs end, and two begin.
        bridge = place.start_bridge(after=after, calls=1 + life % 2)
        assert bridge.nursery.wait(bridge.pid) == CRASHED
    bridge = place.start_bridge()
    place.wait_until_all_is_sent()
    bridge.stop()

    place.audit()


def test_a_second_bridge_waits_and_takes_over_from_one_that_is_paused_or_killed(
    place: Place,
) -> None:
    # Half a minute for both; one of them over each database.
    over_sqlite = place.database_url.startswith("sqlite")
    end = signal.SIGSTOP if over_sqlite else signal.SIGKILL
    first = place.start_bridge()
    second = place.bridges.start()
    place.history.freeze(5)
    place.wait_until_all_is_sent()
    assert holds_lease(place.state, first)

    began = time.monotonic()
    os.kill(first.pid, end)
    place.history.freeze(5)
    place.wait_until_it_leads(second)
    took = time.monotonic() - began
    if end == signal.SIGSTOP:
        os.kill(first.pid, signal.SIGCONT)  # It wakes up and must not go on.
    place.wait_until_all_is_sent()
    assert holds_lease(place.state, second)
    second.stop()
    if end == signal.SIGSTOP:
        first.stop()

    assert took < 15
    place.audit()
    print(f"\na second bridge took over after {took:.1f} s ({end.name})")


def _wait_for_the_server(place: Place) -> None:
    wait_until(place.server.answers, seconds=60, what="MLflow is back")
