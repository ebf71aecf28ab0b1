"""What predictions notice of MLflow: absent, down, or hanging, against a service without bridge."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from benchmarks.serving.load import Load, each, load
from benchmarks.serving.results import SAME, Goal, Part, Row, Table
from benchmarks.serving.rounds import Comparison, Spread, interleaved
from benchmarks.serving.servers import Command, running, service
from benchmarks.serving.setup import Setup

_OFF, _AGAIN = "bridge off", "bridge off again"
_ABSENT, _DOWN, _HANGING = "absent", "down", "hanging"
_WINDOW = "10"
"""Seconds of a window of the history: a bridge tries MLflow far oftener than by default."""
_SETTLED_RUNS = 2
_NO_MLFLOW = 'raise ModuleNotFoundError("No module named \'mlflow\'", name="mlflow")\n'


def measure(setup: Setup) -> Part:
    """Measure five services in interleaved rounds."""
    with _hanging() as hanging:
        commands = _commands(setup, hanging=hanging)
        names = (_OFF, _AGAIN, _ABSENT, _DOWN, _HANGING)
        with running(commands, setup.folder, cores=None) as up:
            servers = dict(zip(names, up.values(), strict=True))

            def run(name: str) -> Load:
                return load(servers[name], setup.single, seconds=setup.effort.seconds)

            # A bridge takes its time to begin.
            for _ in range(min(_SETTLED_RUNS, setup.effort.rounds)):
                for name in names:
                    run(name)
            loads = interleaved({name: partial(run, name) for name in names}, setup.effort.rounds)
    p99 = {name: each(runs, "p99_ms") for name, runs in loads.items()}
    speed = {name: each(runs, "per_second") for name, runs in loads.items()}
    rows = []
    for name in (_ABSENT, _DOWN, _HANGING):
        more, less = Goal(SAME, SAME), Goal(SAME, SAME, more_is_better=False)
        rows += [
            Row.of(f"p99, MLflow {name}", Comparison.of(p99[name], p99[_OFF], p99[_AGAIN]), less),
            Row.of(
                f"requests/s, MLflow {name}",
                Comparison.of(speed[name], speed[_OFF], speed[_AGAIN]),
                more,
            ),
        ]
    lines = [
        [
            name,
            *(f"{Spread.of(of[name]).median:.{digits}f}" for of, digits in ((speed, 0), (p99, 2))),
        ]
        for name in names
    ]
    return Part(
        "MLflow absent, down, hanging",
        rows,
        [Table("Medians of rounds", ["MLflow", "req/s", "p99 ms"], lines)],
        [f"Not pinned: the bridge is a process of its own. Windows of {_WINDOW} s."],
    )


def _commands(setup: Setup, *, hanging: str) -> list[Command]:
    stub = setup.folder / "without_mlflow"
    stub.mkdir()
    (stub / "mlflow.py").write_text(_NO_MLFLOW)
    bridge = {"CTR_BRIDGE_ENABLED": "true", "CTR_BRIDGE_WINDOW": _WINDOW}
    environments = {
        "off": {"CTR_BRIDGE_WINDOW": _WINDOW},
        "off-again": {"CTR_BRIDGE_WINDOW": _WINDOW},
        "absent": {**bridge, "PYTHONPATH": str(stub)},
        "down": {**bridge, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{_closed_port()}"},
        "hanging": {**bridge, "MLFLOW_TRACKING_URI": hanging},
    }
    return [
        service(f"mlflow-{name}", setup.models, environment=environment)
        for name, environment in environments.items()
    ]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def _hanging() -> Iterator[str]:
    """Accept connections and never answer."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:

        def accept() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    held.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()
