"""Do memory and the latency of monitoring answers grow with what was served?

Services of the same age are asked in turn: some that served about 10,000 predictions, of which one
against another shows what chance does, and one that served up to ten million, every one of a user
that never was there before.
"""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.serving.load import Traffic, load
from benchmarks.serving.questions import Questions
from benchmarks.serving.results import SAME, Goal, Part, Row, Table
from benchmarks.serving.rounds import Comparison, Spread, interleaved
from benchmarks.serving.servers import Server, running, service
from benchmarks.serving.setup import BATCH, JSON, Setup, answer_of
from benchmarks.serving.subject import MODEL_NAME, batches_of

_MANY, _FEW, _AGAIN = "many", "few", "few again"
_WEIGHED_TOO = ("few, third", "few, fourth")
"""Memory is read once, so that chance shows only between more services."""
_ROWS, _AT_ONCE = 50, 4
"""Of a batch, and how many are on their way: the memory that they need is not growth."""
_FIRST_BATCHES, _LATER_BATCHES = 40, _AT_ONCE
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
    names = (_MANY, _FEW, _AGAIN, *_WEIGHED_TOO)
    commands = [service(name.replace(", ", "-").replace(" ", "-"), setup.models) for name in names]
    with running(commands, setup.folder, cores=setup.cores.servers) as up:
        servers = dict(zip(names, up.values(), strict=True))
        grown = _grow(servers, setup)
        held = {name: _reading(server) for name, server in servers.items()}
        seconds = _latencies(servers, setup)
    everything = [[sum(one.values()) for one in times] for times in seconds.values()]
    megabytes = {name: reading.megabytes for name, reading in held.items()}
    third, fourth = _WEIGHED_TOO
    weighed = Comparison.of(
        [megabytes[_MANY]] * 2,
        [megabytes[_FEW], megabytes[third]],
        [megabytes[_AGAIN], megabytes[fourth]],
    )
    less = Goal(SAME, SAME, more_is_better=False)
    few, many = (f"{held[name].predictions:,}" for name in (_FEW, _MANY))
    return Part(
        f"From {few} to {many} predictions",
        [
            Row.of(f"memory, {many} predictions / {few}", weighed, less),
            Row(
                "growth of memory over the later half of the load",
                _slope(grown),
                unit="MB a million",
            ),
            Row.of("latency of monitoring answers, likewise", Comparison.of(*everything), less),
        ],
        [_memory_table(grown), _latency_table(seconds)],
        [
            "Memory: the anonymous part, one reading each before the latencies are measured; "
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
        for name in servers.keys() - {_MANY}:
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
    return Traffic(BATCH, path, fresh_users=True, connections=_AT_ONCE)


def _send(server: Server, bodies: Sequence[str]) -> None:
    """Send as many at once as the load does: what a turn of them needs is needed once."""
    connections = [http.client.HTTPConnection(server.address, timeout=30) for _ in range(_AT_ONCE)]
    for first in range(0, len(bodies), _AT_ONCE):
        together = list(zip(connections, bodies[first : first + _AT_ONCE], strict=False))
        for connection, body in together:
            connection.request("POST", BATCH, body, JSON)
        for connection, _ in together:
            answer_of(server, BATCH, connection.getresponse())
    for connection in connections:
        connection.close()


def _reading(server: Server) -> _Reading:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", f"/monitoring/stats?model_name={MODEL_NAME}")
    stats = json.loads(connection.getresponse().read())
    connection.close()
    predictions = int(stats["total_predictions"])
    return _Reading(predictions, server.worker_memory().anonymous_megabytes, server.open_files())


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
    compared = (_MANY, _FEW, _AGAIN)
    questions = {name: Questions(servers[name]) for name in compared}

    def ask_all(name: str) -> Mapping[str, float]:
        time.sleep(_INTERVAL_SECONDS / len(compared))
        return {path: questions[name].ask(path) for path in questions[name].paths}

    for name in compared:
        ask_all(name)
    found = interleaved(
        {name: partial(ask_all, name) for name in compared}, setup.effort.growth_readings
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
    return Table("What the service holds", ["predictions", "anonymous MB", "open files"], lines)


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
