"""A service that is offered three times what it can answer.

``python -m benchmarks.overload`` measures the capacity of one worker (a closed loop), offers three
times as much at once (an open loop), and measures again at once, several rounds one after the other
so that what else the machine does falls on all three. It ends with 1 where a law is broken. A short
form is a test.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from benchmarks.hostile import AD, ANSWERED, counted
from benchmarks.open_loop import Sent, send
from benchmarks.serving.servers import Server, running, service

OVERLOAD = 3
MOST_AT_ONCE = 256
"""``CTR_MAX_CONCURRENCY`` by default."""
ROWS = 20
"""Ad requests of one HTTP request: the service has more to do for one than the sender."""
_CLOSED_CONNECTIONS = 240
"""Nearly as many as are let in: requests in turns of so many cost more than in those of a few, and
that is no matter of who is refused."""
_OPERATIONS = ("/healthz", "/readyz", "/metrics")
_PROBE_SECONDS = 0.1
_TURNS = 4
"""An accepted request waits for the turn that is being answered and for its own, each of at most
``MOST_AT_ONCE`` requests; as much again for refusals, and for what the sender itself is late."""
_OVERLOADED = "overloaded"


@dataclass(frozen=True)
class Probe:
    """How an operator's question was answered."""

    path: str
    status: int
    seconds: float


@dataclass(frozen=True)
class Round:
    """Before, meanwhile and after."""

    before: Sent
    overload: Sent
    after: Sent
    probes: Sequence[Probe]
    predictions: int
    """Requests answered with 200, by the service's counters."""
    refused: int
    """The same of those refused."""
    cpu_seconds: tuple[float, float, float]
    """Processor time of the service before, meanwhile and after."""

    @property
    def kept(self) -> float:
        """Share of the capacity that was left."""
        capacity = (_capacity(self.before) + _capacity(self.after)) / 2
        return _capacity(self.overload) / capacity

    @property
    def kept_by_cpu(self) -> float:
        """The same in answers by second of processor time, whoever else needs the processors."""
        before, overload, after = (
            one.count(HTTPStatus.OK) / cpu_seconds
            for one, cpu_seconds in zip(self.sent, self.cpu_seconds, strict=True)
        )
        return 2 * overload / (before + after)

    @property
    def same(self) -> float:
        """Capacity after by capacity before: what the machine alone makes of a ratio."""
        return _capacity(self.after) / _capacity(self.before)

    @property
    def sent(self) -> Sequence[Sent]:
        """All that was sent."""
        return self.before, self.overload, self.after

    @property
    def p99_by_bound(self) -> float:
        """p99 of those accepted meanwhile, by its bound."""
        return self.overload.quantile(HTTPStatus.OK, 0.99) / self.p99_bound_seconds

    @property
    def recovered(self) -> float:
        """p99 of the first second after by that before."""
        after, before = (one.quantile(HTTPStatus.OK, 0.99) for one in (self.after, self.before))
        return after / before

    @property
    def p99_bound_seconds(self) -> float:
        """What the limit on requests at one time implies for those accepted."""
        slowest = min(_capacity(self.before), _capacity(self.overload), _capacity(self.after))
        return _TURNS * MOST_AT_ONCE / slowest


@dataclass(frozen=True)
class Limits:
    """From where on a law is broken."""

    kept: float | None = 0.9
    """Least share of the capacity, median over rounds; None where others need the processors."""
    kept_by_cpu: float = 0.8
    """The same by processor time, which refusals take too."""
    p99: float = 1.0
    """Most that p99 of those accepted may be by its bound, median over rounds."""
    recovered: float = 2.0
    """Most that p99 of the first second after may be by that before, median over rounds."""
    operations_seconds: float = 1.0
    """Longest answer to an operator: the time-out of Kubernetes' probes."""


@dataclass
class _Probing:
    address: str
    found: list[Probe] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask as the probes of an orchestrator do, each time on a new connection."""
        while not self.over.wait(_PROBE_SECONDS):
            for path in _OPERATIONS:
                began = time.perf_counter()
                connection = http.client.HTTPConnection(self.address, timeout=10)
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                connection.close()
                self.found.append(Probe(path, answer.status, time.perf_counter() - began))


def one_round(server: Server, pool: ProcessPoolExecutor, *, seconds: float, rows: int) -> Round:
    """Load a service that nobody else asks meanwhile; ``seconds`` each time but the last."""
    request = _request(rows)
    asked = partial(send, server.address, request)
    closed = partial(asked, connections=_CLOSED_CONNECTIONS, per_second=None)
    counts = counted(server.url)
    # Before and after too: what the probes take is no matter of who is refused.
    probing = _Probing(server.address)
    prober = threading.Thread(target=probing.run)
    prober.start()
    used = [server.cpu_seconds()]
    before = pool.submit(partial(closed, seconds=seconds)).result()
    used.append(server.cpu_seconds())
    offered = partial(
        asked,
        connections=OVERLOAD * MOST_AT_ONCE,
        seconds=seconds,
        per_second=OVERLOAD * _capacity(before),
    )
    overload = pool.submit(offered).result()
    used.append(server.cpu_seconds())
    after = pool.submit(partial(closed, seconds=1.0)).result()
    used.append(server.cpu_seconds())
    probing.over.set()
    prober.join()
    gained = counted(server.url) - counts
    return Round(
        before,
        overload,
        after,
        probing.found,
        gained[ANSWERED],
        gained[_OVERLOADED],
        (used[1] - used[0], used[2] - used[1], used[3] - used[2]),
    )


def kept_of(rounds: Sequence[Round]) -> float:
    """Share of the capacity that was left, the median: chance makes a round differ by a fifth."""
    return median(one.kept for one in rounds)


def broken_laws(rounds: Sequence[Round], limits: Limits) -> list[str]:
    """Say what should not be."""
    wrong: list[str] = []
    if limits.kept is not None and (kept := kept_of(rounds)) < limits.kept:
        wrong.append(f"of the capacity {kept:.2f} is left, less than {limits.kept:.2f}")
    if (kept := median(one.kept_by_cpu for one in rounds)) < limits.kept_by_cpu:
        wrong.append(
            f"of the answers by second of processor time {kept:.2f} are left, "
            f"less than {limits.kept_by_cpu:.2f}"
        )
    if (p99 := median(one.p99_by_bound for one in rounds)) > limits.p99:
        wrong.append(f"p99 of those accepted is {p99:.2f} times its bound")
    if (recovered := median(one.recovered for one in rounds)) > limits.recovered:
        wrong.append(f"p99 of the first second after is {recovered:.2f} times that before")
    for one in rounds:
        wrong += [*_miscounted(one), *_unanswered(one), *_out_of_sight(one, limits)]
    return wrong


def _miscounted(one: Round) -> Iterator[str]:
    for what, status, seen in (
        ("answered", HTTPStatus.OK, one.predictions),
        ("refused", HTTPStatus.SERVICE_UNAVAILABLE, one.refused),
    ):
        had = sum(each.count(status) for each in one.sent)
        if had != seen:
            yield f"{seen} requests are counted as {what}, {had} were"


def _unanswered(one: Round) -> Iterator[str]:
    if not one.overload.count(HTTPStatus.SERVICE_UNAVAILABLE):
        yield "nothing was refused: that was no overload"
    if one.overload.without_retry_after:
        yield f"{one.overload.without_retry_after} refusals do not say when to come again"
    if lost := sum(each.lost for each in one.sent):
        yield f"{lost} requests were not answered"
    known = {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
    if others := {status for each in one.sent for status in each.latencies} - known:
        yield f"there were answers {others}"


def _out_of_sight(one: Round, limits: Limits) -> Iterator[str]:
    for probe in one.probes:
        if probe.status != HTTPStatus.OK:
            yield f"{probe.path} answered {probe.status}"
        if probe.seconds > limits.operations_seconds:
            yield f"{probe.path} took {probe.seconds:.2f} s"


def main() -> int:
    """Measure and print; returns 1 where a law is broken."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load (%(default)s)")
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="ad requests in an HTTP request (%(default)s)"
    )
    flags = parser.parse_args()
    rounds = measure(flags.models_dir, flags.rounds, seconds=flags.seconds, rows=flags.rows)
    for one in rounds:
        sys.stdout.write(told(one) + "\n")
    wrong = broken_laws(rounds, Limits())
    ended = f"median {kept_of(rounds):.2f} of the capacity kept, {len(wrong)} laws broken\n"
    sys.stdout.write("\n".join([*wrong, ended]))
    return 1 if wrong else 0


def measure(models_dir: Path, rounds: int, *, seconds: float, rows: int = ROWS) -> list[Round]:
    """Start a worker and load it."""
    # The sender shares no interpreter with the probes.
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with (
        tempfile.TemporaryDirectory() as folder,
        pool,
        running([service("overload", models_dir)], Path(folder), cores=None) as servers,
    ):
        server = servers["overload"]
        pool.submit(
            send, server.address, _request(rows), connections=8, seconds=0.5, per_second=None
        ).result()
        return [one_round(server, pool, seconds=seconds, rows=rows) for _ in range(rounds)]


def told(one: Round) -> str:
    """Figures of a round."""
    overload, ok, refused = one.overload, HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE
    p99 = [each.quantile(ok, 0.99) * 1000 for each in (one.before, overload, one.after)]
    slowest = max(probe.seconds for probe in one.probes) * 1000
    return (
        f"capacity {_capacity(one.before):.0f}/s; offered {overload.offered / overload.seconds:.0f}"
        f"/s, of that accepted {overload.per_second(ok):.0f}/s, refused "
        f"{overload.per_second(refused):.0f}/s, not sent as all connections waited "
        f"{overload.unsent / overload.seconds:.0f}/s; capacity kept {one.kept:.2f}, by processor "
        f"time {one.kept_by_cpu:.2f} (the same load twice: {one.same:.2f}); p99 ms before "
        f"{p99[0]:.0f}, meanwhile {p99[1]:.0f} (bound {one.p99_bound_seconds * 1000:.0f}), first "
        f"second after {p99[2]:.0f}; slowest of "
        f"{len(one.probes)} probes {slowest:.0f} ms"
    )


def _capacity(sent: Sent) -> float:
    return sent.per_second(HTTPStatus.OK)


def _request(rows: int) -> bytes:
    path, body = "/predict_ctr", json.dumps(AD)
    if rows > 1:
        users = [AD | {"user_id": f"u{row}"} for row in range(rows)]
        path, body = "/predict_ctr/batch", json.dumps({"requests": users})
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


if __name__ == "__main__":
    sys.exit(main())
