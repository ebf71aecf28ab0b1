"""One prediction per request: the service beside FastAPI's hello world and others."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from benchmarks.serving.load import Load, Traffic, each, load
from benchmarks.serving.results import Goal, Part, Row, Table
from benchmarks.serving.rounds import Spread, interleaved
from benchmarks.serving.servers import Command, Memory, Server, paused, peer, running, service
from benchmarks.serving.setup import PREDICT, Setup, check_answers

OURS, HELLO, RAW, TYPICAL = "service", "hello", "raw", "typical"
_PEERS = {HELLO: "/", RAW: "/", TYPICAL: "/metrics"}
"""By name, where each says that it is ready."""
_INSTRUMENTATOR = "prometheus_fastapi_instrumentator"
_WARM_UP_SECONDS = 2
_PERCENTILES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")


@dataclass(frozen=True)
class Throughput:
    """Every run of every server."""

    loads: Mapping[str, Sequence[Load]]
    memory: Mapping[str, Memory]

    def ratio(self, figure: str, server: str) -> Spread | None:
        """Relate the service to another server, within rounds; None where that is not installed."""
        if server not in self.loads:
            return None
        return self._times(OURS, server, figure)

    @property
    def cpu_us(self) -> float:
        """Processor time of one request to the service."""
        return self._median(OURS, "cpu_us")

    def part(self) -> Part:
        """Lay it out."""
        rows = [
            _row("requests/s against hello world", self.ratio("per_second", HELLO), 1.0, 1.5),
            _row("requests/s against bare uvicorn", self.ratio("per_second", RAW), 0.28, 0.40),
            _row("requests/s against the typical service", self.ratio("per_second", TYPICAL), 5, 8),
            Row(
                "p99 against hello world's",
                self.ratio("p99_ms", HELLO),
                Goal(1.5, 1.0, more_is_better=False),
            ),
            Row(
                "memory of the worker after it (PSS)",
                Spread.of([self.memory[OURS].pss_megabytes]),
                Goal(150.0, 110.0, more_is_better=False),
                "MB",
            ),
            Row(
                "the same with all that it shares with other processes (RSS)",
                Spread.of([self.memory[OURS].rss_megabytes]),
                unit="MB",
            ),
        ]
        missing = TYPICAL not in self.loads
        remarks = [f"typical: not measured, {_INSTRUMENTATOR} is not installed."] if missing else []
        return Part("One prediction per request", rows, [self._table()], remarks)

    def _table(self) -> Table:
        columns = ["server", "req/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "CPU us/req"]
        columns += ["PSS MB", "x hello", "x raw", "CPU x hello"]
        return Table("Medians of rounds", columns, [self._line(name) for name in self.loads])

    def _line(self, name: str) -> list[str]:
        return [
            name,
            f"{self._median(name, 'per_second'):.0f}",
            *(f"{self._median(name, percentile):.2f}" for percentile in _PERCENTILES),
            f"{self._median(name, 'cpu_us'):.0f}",
            f"{self.memory[name].pss_megabytes:.0f}",
            f"{self._times(name, HELLO, 'per_second').median:.2f}",
            f"{self._times(name, RAW, 'per_second').median:.3f}",
            f"{self._times(HELLO, name, 'cpu_us').median:.2f}",
        ]

    def _median(self, name: str, figure: str) -> float:
        return Spread.of(each(self.loads[name], figure)).median

    def _times(self, name: str, other: str, figure: str) -> Spread:
        return Spread.of_ratios(each(self.loads[name], figure), each(self.loads[other], figure))


def measure(setup: Setup) -> Throughput:
    """Measure the servers in interleaved rounds.

    Raises:
        WrongAnswerError: A server that predicts is off from ``Booster.predict``.
        LoadFailedError: Not every request was answered with success.
    """
    peers = [name for name in _PEERS if name != TYPICAL or find_spec(_INSTRUMENTATOR)]
    commands: list[Command] = [service(OURS, setup.models)]
    commands += [peer(name, setup.models, ready_path=_PEERS[name]) for name in peers]
    traffic = dict.fromkeys((OURS, RAW, TYPICAL), setup.single) | {HELLO: Traffic("/")}
    cores = setup.cores
    with running(commands, setup.folder, cores=cores.servers) as servers:
        for name, server in servers.items():
            _warm_up(server, traffic[name], setup, predicts=name in {OURS, TYPICAL})

        def run(name: str) -> Load:
            with paused(server for other, server in servers.items() if other != name):
                return load(
                    servers[name], traffic[name], seconds=setup.effort.seconds, cores=cores.load
                )

        loads = interleaved({name: partial(run, name) for name in servers}, setup.effort.rounds)
        memory = {name: server.worker_memory() for name, server in servers.items()}
    return Throughput(loads, memory)


def _warm_up(server: Server, traffic: Traffic, setup: Setup, *, predicts: bool) -> None:
    """Load it for a moment; the answers must be right before and under that load."""
    if predicts:
        check_answers(server, setup.subject)
    seconds = min(_WARM_UP_SECONDS, setup.effort.seconds)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, server, traffic, seconds=seconds, cores=setup.cores.load)
        if predicts:
            check_answers(server, setup.subject)
        loading.result()


def _row(what: str, ratio: Spread | None, must: float, reach: float) -> Row:
    return Row(f"`{PREDICT}` {what}", ratio, Goal(float(must), float(reach)))
