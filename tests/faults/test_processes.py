"""Every program killed or paused in the middle of writes: what was acknowledged is there, once."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from acknowledged_traffic import MODEL, SCALE, acknowledged_traffic
from postgres import PostgreSQL
from prometheus_server import Prometheus, wait_until
from whole_system import WORKERS, System, running_system, stores_in_files, stores_on_servers

pytestmark = pytest.mark.integration

ANSWERS = 30
"""Between two faults."""
PAUSE_SECONDS = 3.0
PROMPT_SECONDS = 1.0


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path, tool: Callable[[str, str], str]
) -> Iterator[System]:
    """Everything, as it runs where nothing is set."""
    folder = tmp_path_factory.mktemp("system")
    binary = tool("prometheus", "prometheus")
    with (
        stores_in_files(folder) as stores,
        running_system(folder, models_dir, stores, binary) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    models_dir: Path,
    tool: Callable[[str, str], str],
    own_postgres: PostgreSQL,
) -> Iterator[System]:
    """Everything, with what it keeps in PostgreSQL and behind a server of MLflow."""
    folder = tmp_path_factory.mktemp("served")
    binary = tool("prometheus", "prometheus")
    with (
        stores_on_servers(folder, own_postgres) as stores,
        running_system(folder, models_dir, stores, binary) as running,
    ):
        yield running


def storm(system: System, fault: Callable[[random.Random], None], *, faults: int) -> None:
    """Break something again and again under traffic, then account for everything.

    Args:
        system: What is broken.
        fault: Breaks it and starts again what nobody else would.
        faults: How often.
    """
    chance = random.Random(1)
    longest = 0.0
    with acknowledged_traffic(system.url, system.ledger) as clients:
        for _ in range(faults):
            clients.wait_for_answers(ANSWERS)
            time.sleep(chance.uniform(0, 0.5))  # The moment is meant to be any.
            began = time.monotonic()
            fault(chance)
            clients.wait_for_answers(1)
            longest = max(longest, time.monotonic() - began)
    assert set(system.ledger.refused) <= {503}
    print(f"\n{faults} faults, all acknowledged again after {longest:.1f} s; {system.account()}")


def test_killed_workers_take_nothing_with_them(system: System) -> None:
    def kill_one(chance: random.Random) -> None:
        wait_until(lambda: len(system.serving()) == WORKERS, seconds=60, what="both serve")
        os.kill(chance.choice(system.serving()), signal.SIGKILL)

    storm(system, kill_one, faults=2 * SCALE)


def test_a_killed_bridge_tells_mlflow_nothing_twice_and_omits_nothing(system: System) -> None:
    storm(system, lambda _: system.kill_bridge(), faults=SCALE)


def test_a_service_that_is_killed_whole_has_kept_what_it_acknowledged(system: System) -> None:
    def kill_and_start(_: random.Random) -> None:
        system.kill_service()
        system.start_service()

    storm(system, kill_and_start, faults=SCALE)


def test_a_paused_worker_holds_up_what_it_has_begun_and_stores_no_tick_twice(
    system: System,
) -> None:
    def pause(_: random.Random) -> None:
        wait_until(lambda: system.ticker() is not None, seconds=30, what="somebody stores")
        paused = system.ticker()
        assert paused is not None
        os.kill(paused, signal.SIGSTOP)
        # At once, unless it is paused in a transaction: then once the launcher has replaced it.
        wait_until(lambda: system.ticker() not in {None, paused}, seconds=60, what="another does")
        with acknowledged_traffic(system.url, system.ledger, clients=1) as others:
            others.wait_for_answers(10)
        with suppress(ProcessLookupError):
            os.kill(paused, signal.SIGCONT)

    storm(system, pause, faults=SCALE)


def test_a_killed_prometheus_has_every_scrape_that_it_had(system: System) -> None:
    def kill_and_start(_: random.Random) -> None:
        seen = scrapes(system.prometheus)
        assert len(seen) > 1
        system.kill_prometheus()
        system.start_prometheus()
        again = scrapes(system.prometheus)
        assert again[: len(seen)] == seen

    wait_until(lambda: len(scrapes(system.prometheus)) > 1, seconds=30, what="two scrapes")
    storm(system, kill_and_start, faults=SCALE)


def scrapes(prometheus: Prometheus) -> list[tuple[float, str]]:
    """Every moment and value of a counter, oldest first."""
    labels = f'model="{MODEL}",outcome="success"'
    found = prometheus.query(f"ctr_requests_total{{{labels}}}[1d]")
    return [(at, value) for series in found for at, value in series["values"]]


def test_a_killed_postgresql_has_kept_what_was_acknowledged(served: System) -> None:
    postgres, ledger = served.stores.postgres, served.ledger
    assert postgres is not None

    def kill_and_start(_: random.Random) -> None:
        postgres.kill()
        before = ledger.answered
        wait_until(
            lambda: ledger.answered > before + ANSWERS,
            seconds=30,
            what="predictions go on without the state",
        )
        postgres.start()

    storm(served, kill_and_start, faults=SCALE)


def test_a_paused_postgresql_holds_up_no_prediction(served: System) -> None:
    postgres = served.stores.postgres
    assert postgres is not None
    seconds: list[float] = []

    def pause(_: random.Random) -> None:
        with postgres.paused():
            resumed = time.monotonic() + PAUSE_SECONDS
            while (began := time.monotonic()) < resumed:
                with served.service.client() as client:
                    served.ledger.predict(client, "u")
                seconds.append(time.monotonic() - began)

    storm(served, pause, faults=SCALE)
    assert max(seconds) < PROMPT_SECONDS


def test_a_host_that_loses_every_process_at_once_has_kept_what_was_acknowledged(
    served: System,
) -> None:
    postgres, mlflow = served.stores.postgres, served.stores.mlflow
    assert postgres is not None
    assert mlflow is not None

    def kill_all_and_start(_: random.Random) -> None:
        mlflow.kill()
        postgres.kill()
        served.kill_service()
        served.kill_prometheus()
        postgres.start()
        mlflow.begin_to_start()
        served.start_service()
        served.start_prometheus()

    storm(served, kill_all_and_start, faults=SCALE)
