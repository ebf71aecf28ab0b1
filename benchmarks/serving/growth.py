"""Do memory and the latency of monitoring answers grow with what was served?

Three services of the same age are asked in turn: two that served about 10,000 predictions, of
which one against the other shows what chance does, and one that served up to ten million, every one
of a user that never was there before.
"""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.serving.load import Traffic, load
from benchmarks.serving.questions import Questions
from benchmarks.serving.results import SAME, Goal, Part, Row, Table
from benchmarks.serving.rounds import Comparison, Spread, interleaved
from benchmarks.serving.servers import Server, running, service
from benchmarks.serving.setup import BATCH, Setup, ask
from benchmarks.serving.subject import MODEL_NAME, batches_of

_MANY, _FEW, _AGAIN = "many", "few", "few again"
_ROWS, _CONNECTIONS = 50, 4
"""Of a batch, and how many are on their way: the memory that a batch needs is not growth."""
_FIRST_BATCHES, _LATER_BATCHES = 40, _CONNECTIONS
"""What those with few predictions get, at first and in every burst."""
_BURST_SECONDS = 5
_FEWEST_FOR_SLOPE = 5
_INTERVAL_SECONDS = 1.0
"""Between two readings: an answer that is kept for a moment must not be asked twice."""


@dataclass(frozen=True)
class _Reading:
    """What was held after so many predictions."""

    predictions: int
    megabytes: float
    open_files: int


def measure(setup: Setup) -> Part:
    """Bring one service to millions of predictions and compare it with two that had few."""
    names = (_MANY, _FEW, _AGAIN)
    commands = [service(name.replace(" ", "-"), setup.models) for name in names]
    with running(commands, setup.folder, cores=setup.cores.servers) as up:
        servers = dict(zip(names, up.values(), strict=True))
        grown = _grow(servers, setup)
        seconds = _latencies(servers, setup)
        held = {name: _reading(server) for name, server in servers.items()}
    everything = [[sum(one.values()) for one in seconds[name]] for name in names]
    megabytes = [[held[name].megabytes] for name in names]
    less = Goal(SAME, SAME, more_is_better=False)
    few, many = (f"{held[name].predictions:,}" for name in (_FEW, _MANY))
    return Part(
        f"From {few} to {many} predictions",
        [
            Row.of(f"memory, {many} predictions / {few}", Comparison.of(*megabytes), less),
            Row(
                "growth of memory over the later half of the load",
                _slope(grown),
                unit="MB a million",
            ),
            Row.of("latency of monitoring answers, likewise", Comparison.of(*everything), less),
        ],
        [_memory_table(grown), _latency_table(seconds)],
        [
            "Memory: one reading each, so its A/A is a single pair; "
            + ", ".join(f"{name} {one.megabytes:.1f} MB" for name, one in held.items())
            + "."
        ],
    )


def _grow(servers: Mapping[str, Server], setup: Setup) -> Sequence[_Reading]:
    """Load one until enough was predicted, or for as long as there is time; the others hardly.

    A little in every burst for them too: what a service keeps of a tick with and without traffic
    is not what is compared.
    """
    bodies = _bodies(setup)
    traffic = _fresh_traffic(bodies, setup)
    for server in servers.values():
        _send(server, bodies[:_FIRST_BATCHES])
    readings = [_reading(servers[_MANY])]
    deadline = time.monotonic() + setup.effort.growth_seconds
    burst = min(_BURST_SECONDS, setup.effort.growth_seconds)
    while readings[-1].predictions < setup.effort.growth_predictions:
        if time.monotonic() > deadline:
            break
        for name in (_FEW, _AGAIN):
            _send(servers[name], bodies[:_LATER_BATCHES])
        load(servers[_MANY], traffic, seconds=burst, cores=setup.cores.load)
        readings.append(_reading(servers[_MANY]))
    return readings


def _bodies(setup: Setup) -> list[str]:
    """Make batches in which every row has a user of its own, one in four a new ad too.

    Each ``@`` in them stands for a number that never was there before.
    """
    requests = [
        request._replace(user_id=f"@-{i}", ad_id=f"@-{i}" if i % 4 == 0 else request.ad_id)
        for i, request in enumerate(setup.subject.requests)
    ]
    return batches_of(requests, _ROWS)


def _fresh_traffic(bodies: Sequence[str], setup: Setup) -> Traffic:
    path = setup.folder / "fresh_batches"
    path.write_text("\n".join(bodies))
    return Traffic(BATCH, path, fresh_users=True, connections=_CONNECTIONS)


def _send(server: Server, bodies: Sequence[str]) -> None:
    """Send by as many connections as the load has: what each needs is needed once."""
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        shares = [bodies[first::_CONNECTIONS] for first in range(_CONNECTIONS)]
        for sent in [pool.submit(ask, server, BATCH, share) for share in shares]:
            sent.result()


def _reading(server: Server) -> _Reading:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", f"/monitoring/stats?model_name={MODEL_NAME}")
    stats = json.loads(connection.getresponse().read())
    connection.close()
    predictions = int(stats["total_predictions"])
    return _Reading(predictions, server.worker_memory().pss_megabytes, server.open_files())


def _slope(grown: Sequence[_Reading]) -> Spread | None:
    """Find the growth per million predictions once the allocator has what it needs."""
    later = grown[len(grown) // 2 :]
    if len(later) < _FEWEST_FOR_SLOPE:
        return None
    millions = [one.predictions / 1e6 for one in later]
    slope, _ = np.polyfit(millions, [one.megabytes for one in later], 1)
    return Spread.of([float(slope)])


def _latencies(
    servers: Mapping[str, Server], setup: Setup
) -> Mapping[str, Sequence[Mapping[str, float]]]:
    questions = {name: Questions(server) for name, server in servers.items()}

    def ask_all(name: str) -> Mapping[str, float]:
        time.sleep(_INTERVAL_SECONDS / len(servers))
        return {path: questions[name].ask(path) for path in questions[name].paths}

    for name in servers:
        ask_all(name)
    found = interleaved(
        {name: partial(ask_all, name) for name in servers}, setup.effort.growth_readings
    )
    for one in questions.values():
        one.close()
    return found


def _memory_table(grown: Sequence[_Reading]) -> Table:
    """Show the first and the last reading, and one at every doubling between."""
    shown = [grown[0]]
    for one in grown[1:]:
        if one is grown[-1] or one.predictions >= 2 * shown[-1].predictions:
            shown.append(one)
    lines = [[f"{one.predictions:,}", f"{one.megabytes:.1f}", f"{one.open_files}"] for one in shown]
    return Table("What the service holds", ["predictions", "PSS MB", "open files"], lines)


def _latency_table(seconds: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    lines = []
    for path in seconds[_FEW][0]:
        times = {name: [1000 * one[path] for one in readings] for name, readings in seconds.items()}
        compared = Comparison.of(times[_MANY], times[_FEW], times[_AGAIN])
        lines.append(
            [
                f"`{path}`",
                *(f"{Spread.of(times[name]).median:.2f}" for name in (_FEW, _AGAIN, _MANY)),
                f"{compared.ratio.median:.2f}",
                f"{compared.itself.lowest:.2f} to {compared.itself.highest:.2f}",
            ]
        )
    columns = ["answer", "few, ms", "few again, ms", "many, ms", "many / few", "A/A"]
    return Table("Latency of answers, medians", columns, lines)
