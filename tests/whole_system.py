"""Everything that runs in production, each program killable, with one accounting for all."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from accounting import (
    account_for_mlflow,
    account_for_prometheus,
    account_for_the_service,
    frozen_facts,
    requests_told,
)
from acknowledged_traffic import Ledger
from fabricated_history import Fact
from killable_mlflow import MlflowServer, running_mlflow
from ports import free_port
from postgres import PostgreSQL
from prometheus_server import Prometheus, scraping_prometheus, wait_until
from service_process import Service, children, running_service

from service.state.store import open_state

WORKERS = 2
SCOPE = "instance:test"
_WINDOW_SECONDS = 2


@dataclass(frozen=True)
class Stores:
    """Where the service and its bridge keep what must not be lost."""

    state_url: str
    mlflow_database: str
    postgres: PostgreSQL | None = None
    """The server of both; None for files."""
    mlflow: MlflowServer | None = None
    """The server before the database; None where the bridge writes into it."""

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_database if self.mlflow is None else self.mlflow.url


@contextmanager
def stores_in_files(folder: Path) -> Iterator[Stores]:
    """What is used where nothing is set."""
    yield Stores(f"sqlite:///{folder}/state.db", f"sqlite:///{folder}/mlflow.db")


@contextmanager
def stores_on_servers(folder: Path, postgres: PostgreSQL) -> Iterator[Stores]:
    """What several hosts share."""
    state, tracking = (postgres.create_database(name) for name in ("state", "mlflow"))
    with running_mlflow(folder, tracking.replace(":", "+psycopg:", 1)) as mlflow:
        yield Stores(
            state.replace(":", "+psycopg:", 1), mlflow.store_uri, postgres=postgres, mlflow=mlflow
        )


class System:
    """A service with its bridge, and a Prometheus that scrapes it."""

    def __init__(self, folder: Path, models_dir: Path, stores: Stores, prometheus: str) -> None:
        """Start it.

        Args:
            folder: Empty.
            models_dir: What is served.
            stores: Running.
            prometheus: The program.
        """
        self.stores = stores
        self.ledger = Ledger()
        self._folder = folder
        self._models_dir = models_dir
        self._port = free_port()
        self._prometheus_program = prometheus
        self._prometheus_port = free_port()
        self._service_life = ExitStack()
        self._prometheus_life = ExitStack()
        self.service = self.start_service()
        self.prometheus = self.start_prometheus()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start_service(self) -> Service:
        """Start it, again with what it left and where it was."""
        env = {
            "CTR_BRIDGE_ENABLED": "true",
            "CTR_BRIDGE_WINDOW": str(_WINDOW_SECONDS),
            "CTR_INSTANCE": "test",
            "CTR_SNAPSHOT_INTERVAL": "1",
            "CTR_STATE_URL": self.stores.state_url,
            "MLFLOW_TRACKING_URI": self.stores.tracking_uri,
        }
        self.service = self._service_life.enter_context(
            running_service(
                *(self._folder / "state", self._models_dir),
                env=env,
                workers=WORKERS,
                port=self._port,
            )
        )
        self.wait_for_workers()
        return self.service

    def start_prometheus(self) -> Prometheus:
        """Start it, again with what it left and where it was."""
        self.prometheus = self._prometheus_life.enter_context(
            scraping_prometheus(
                *(self._prometheus_program, self._folder, [f"127.0.0.1:{self._port}"]),
                port=self._prometheus_port,
            )
        )
        return self.prometheus

    def workers(self) -> list[int]:
        return children(self.service.process.pid)

    def wait_for_workers(self) -> None:
        wait_until(lambda: len(self.workers()) == WORKERS, seconds=60, what="all workers")

    def serving(self) -> list[int]:
        """Workers that count: one that starts has no file yet."""
        (epoch,) = (self.service.state_dir / "metrics").iterdir()
        return [pid for pid in self.workers() if any(epoch.glob(f"counter_{pid}-*.db"))]

    def ticker(self) -> int | None:
        """Worker that stores the history, where there is one at present."""
        with open_state(self.stores.state_url) as state:
            holder = state.leases.holder_of(f"ticker:{SCOPE}", time.time())
        return None if holder is None else int(holder.split("-")[0])

    def bridge(self) -> int | None:
        """Process of the bridge, where there is one at present."""
        for task in Path(f"/proc/{self.service.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                try:
                    command = Path(f"/proc/{child}/cmdline").read_bytes()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if b"\0bridge\0" in command:
                    return int(child)
        return None

    def kill_bridge(self) -> None:
        wait_until(lambda: self.bridge() is not None, seconds=90, what="there is a bridge")
        bridge = self.bridge()
        assert bridge is not None
        os.kill(bridge, signal.SIGKILL)
        wait_until(
            lambda: self.bridge() not in {None, bridge}, seconds=90, what="there is another bridge"
        )

    def kill_service(self) -> None:
        """Kill launcher, workers and bridge at once, as a power cut would."""
        bridge = self.bridge()
        family = [self.service.process.pid, *self.workers(), *([] if bridge is None else [bridge])]
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        self.service.process.wait()
        wait_until(
            lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in family),
            seconds=30,
            what="all processes are gone",
        )
        self._service_life.close()

    def kill_prometheus(self) -> None:
        self.prometheus.kill()
        self._prometheus_life.close()

    def stop(self) -> None:
        self._prometheus_life.close()
        self._service_life.close()

    def account(self) -> str:
        """Compare every place with the ledger, once all have been told everything."""
        state_url, database = self.stores.state_url, self.stores.mlflow_database
        counted = account_for_the_service(self.ledger, self.service, state_url, SCOPE)
        account_for_prometheus(self.service, self.prometheus)
        sent = wait_until(
            lambda: self._sent(counted), seconds=90, what="MLflow was told everything"
        )
        points = account_for_mlflow(state_url, database, counted, sent=sent)
        answered, clicked, saved = self.ledger.tally()
        return (
            f"acknowledged: {answered} predictions, {clicked} clicks, {saved} baselines; "
            f"there: {counted} predictions ({self.ledger.sent} sent), {points} points in MLflow"
        )

    def _sent(self, counted: int) -> Counter[Fact] | None:
        """What was frozen, once it tells of all requests and all of it was sent."""
        frozen = frozen_facts(self.stores.state_url)
        if requests_told(frozen) < counted:
            return None
        with open_state(self.stores.state_url) as state:
            return None if state.outbox(SCOPE).backlog().entries else frozen


@contextmanager
def running_system(
    folder: Path, models_dir: Path, stores: Stores, prometheus: str
) -> Iterator[System]:
    system = System(folder, models_dir, stores, prometheus)
    try:
        yield system
    finally:
        system.stop()
