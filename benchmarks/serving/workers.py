"""Two workers against one."""

from functools import partial

from benchmarks.serving.load import Load, each, load
from benchmarks.serving.machine import Cores
from benchmarks.serving.results import Part, Row, Table
from benchmarks.serving.rounds import Spread, interleaved
from benchmarks.serving.servers import running, service
from benchmarks.serving.setup import Setup

_ONE, _TWO = "one", "two"
_FIGURES = ("per_second", "p99_ms", "cpu_us")


def measure(setup: Setup) -> Part:
    """Measure both in interleaved rounds; pinned apart from the load where there are 3 cores."""
    cores = Cores.divided_for(workers=2)
    commands = [service(_ONE, setup.models), service(_TWO, setup.models, workers=2)]
    with running(commands, setup.folder, cores=cores.servers) as servers:

        def run(name: str) -> Load:
            return load(servers[name], setup.single, seconds=setup.effort.seconds, cores=cores.load)

        for name in servers:
            run(name)
        loads = interleaved({name: partial(run, name) for name in servers}, setup.effort.rounds)
        memory = {name: server.worker_memory() for name, server in servers.items()}
    lines = [
        [
            name,
            *(f"{Spread.of(each(runs, figure)).median:.4g}" for figure in _FIGURES),
            f"{memory[name].pss_megabytes:.0f}",
        ]
        for name, runs in loads.items()
    ]
    speed, p99 = (
        Spread.of_ratios(each(loads[_TWO], figure), each(loads[_ONE], figure))
        for figure in ("per_second", "p99_ms")
    )
    columns = ["workers", "req/s", "p99 ms", "CPU us/req", "PSS MB of the largest"]
    return Part(
        "Two workers against one",
        [Row("requests/s, 2 workers / 1", speed), Row("p99, 2 workers / 1", p99)],
        [Table("Medians of rounds", columns, lines)],
        [f"Cores: {cores}."],
    )
