"""Do memory and the latency of monitoring answers grow with what was served?

Three services of the same age are asked in turn: two that served 10,000 predictions, of which one
against the other shows what chance does, and one that served up to ten million, every one of a
user that never was there before.
"""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.serving.load import Traffic, load
from benchmarks.serving.questions import Questions
from benchmarks.serving.results import SAME, Goal, Part, Row, Table
from benchmarks.serving.rounds import Comparison, Spread, interleaved
from benchmarks.serving.servers import Server, running, service
from benchmarks.serving.setup import BATCH, Setup, ask
from benchmarks.serving.subject import BATCH_ROWS, BATCHES, MODEL_NAME

_MANY, _FEW, _AGAIN = "many", "few", "few again"
_FEW_PREDICTIONS = 10_000
_BURST_SECONDS = 5
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
        for server in servers.values():
            _serve_few(server, setup)
        grown = _grow(servers[_MANY], setup)
        seconds = _latencies(servers, setup)
        held = {name: servers[name].worker_megabytes() for name in names}
    everything = [[sum(one.values()) for one in seconds[name]] for name in names]
    megabytes = [[held[name]] for name in names]
    less = Goal(SAME, SAME, more_is_better=False)
    reached = f"{grown[-1].predictions:,}"
    return Part(
        f"From {_FEW_PREDICTIONS:,} to {reached} predictions",
        [
            Row.of(f"memory at {reached} predictions", Comparison.of(*megabytes), less),
            Row.of(
                f"monitoring answers at {reached} predictions", Comparison.of(*everything), less
            ),
        ],
        [_memory_table(grown), _latency_table(seconds)],
        [
            "Memory: one reading each, so its A/A is a single pair; "
            + ", ".join(f"{name} {one:.1f} MB" for name, one in held.items())
            + "."
        ],
    )


def _serve_few(server: Server, setup: Setup) -> None:
    """Warm it up with as many connections as will load it: each costs memory, once."""
    bodies = setup.subject.batches()[: _FEW_PREDICTIONS // BATCH_ROWS]
    connections = setup.batch.connections
    with ThreadPoolExecutor(connections) as pool:
        shares = [bodies[first::connections] for first in range(connections)]
        for sent in [pool.submit(ask, server, BATCH, share) for share in shares]:
            sent.result()


def _grow(server: Server, setup: Setup) -> Sequence[_Reading]:
    """Load until enough was predicted, or for as long as there is time."""
    traffic = _fresh_traffic(setup)
    readings = [_reading(server)]
    deadline = time.monotonic() + setup.effort.growth_seconds
    burst = min(_BURST_SECONDS, setup.effort.growth_seconds)
    while readings[-1].predictions < setup.effort.growth_predictions:
        if time.monotonic() > deadline:
            break
        load(server, traffic, seconds=burst, cores=setup.cores.load)
        readings.append(_reading(server))
    return readings


def _fresh_traffic(setup: Setup) -> Traffic:
    """Make batches in which wrk gives every row a user of its own, one in four a new ad too."""
    path = setup.folder / "fresh_batches"
    requests = [
        request._replace(user_id=f"@-{i}", ad_id=f"@-{i}" if i % 4 == 0 else request.ad_id)
        for i, request in enumerate(setup.subject.requests[: BATCHES * BATCH_ROWS])
    ]
    starts = range(0, len(requests), BATCH_ROWS)
    bodies = [
        json.dumps({"requests": [one._asdict() for one in requests[start : start + BATCH_ROWS]]})
        for start in starts
    ]
    path.write_text("\n".join(bodies))
    return replace(setup.batch, bodies=path, fresh_users=True)


def _reading(server: Server) -> _Reading:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", f"/monitoring/stats?model_name={MODEL_NAME}")
    stats = json.loads(connection.getresponse().read())
    connection.close()
    predictions = int(stats["total_predictions"])
    return _Reading(predictions, server.worker_megabytes(), server.open_files())


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
    lines = [[f"{one.predictions:,}", f"{one.megabytes:.1f}", f"{one.open_files}"] for one in grown]
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
