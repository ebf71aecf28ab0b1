"""How many clicks one worker takes in, and what predictions notice of it.

Run from the repository's root, with models trained: ``python -m benchmarks.feedback``. The clicks
belong to predictions of the whole last day, each new, half of them clicked. Processor time per
event is what to look at on a machine that does other things, too.
"""

import http.client
import json
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.serving.servers import Server, running, service
from service.prediction.prediction_id import PredictionId, origin_of
from service.prediction.signing_keys import signing_key

EVENTS, BATCH, CLIENTS = 200_000, 1000, 2
SECRET = secrets.token_hex(20)
SECONDS_PER_DAY = 86_400
ROW = json.dumps(
    {
        "user_id": "u",
        "ad_id": "a",
        "device": "mobile",
        "placement": "header",
        "hour": 3,
        "day_of_week": 3,
    }
)
_JSON = {"Content-Type": "application/json"}


def main() -> None:
    """Measure and print."""
    bodies = _bodies()
    with _running() as server:
        alone = _latencies(server, threading.Event(), 5.0)
        sent = threading.Event()
        beside: list[float] = []
        watcher = threading.Thread(target=lambda: beside.extend(_latencies(server, sent, 600.0)))
        cpu, began = server.cpu_seconds(), time.perf_counter()
        clients = [
            threading.Thread(target=_send, args=(server.address, bodies[i::CLIENTS]))
            for i in range(CLIENTS)
        ]
        watcher.start()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        seconds, cpu = time.perf_counter() - began, server.cpu_seconds() - cpu
        sent.set()
        watcher.join()
        again = _latencies(server, threading.Event(), 5.0)
    print(f"{EVENTS:,} events in batches of {BATCH} over {CLIENTS} connections, one worker")
    print(f"{EVENTS / seconds:,.0f} events/s; {cpu / EVENTS * 1e6:.0f} us of processor per event")
    print("one prediction after the other meanwhile, ms: p50, p99")
    for name, latencies in (("alone", alone), ("beside clicks", beside), ("alone again", again)):
        middle, high = np.quantile(np.array(latencies) * 1000, (0.5, 0.99))
        print(f"{name:15}{middle:8.2f}{high:8.2f}")


def _bodies() -> list[bytes]:
    rng = np.random.default_rng(0)
    key = signing_key(SECRET, Path())
    now = time.time()
    events = [
        {
            "prediction_id": PredictionId(
                model="xgboost",
                version="20260101T000000Z-abcdef",
                score=float(rng.beta(2, 80)),
                milliseconds=int((now - rng.uniform(0, SECONDS_PER_DAY - 600)) * 1000),
                nonce=secrets.token_bytes(6),
                origin=origin_of("benchmark"),
                experiment=1,
                cell=int(rng.integers(64)),
            ).signed(key),
            "clicked": bool(rng.integers(2)),
        }
        for _ in range(EVENTS)
    ]
    return [json.dumps({"events": events[i : i + BATCH]}).encode() for i in range(0, EVENTS, BATCH)]


@contextmanager
def _running() -> Iterator[Server]:
    command = service("feedback", Path("models"), environment={"CTR_SIGNING_KEY": SECRET})
    with (
        tempfile.TemporaryDirectory() as folder,
        running([command], Path(folder), cores=None) as servers,
    ):
        yield servers["feedback"]


def _send(address: str, bodies: list[bytes]) -> None:
    connection = http.client.HTTPConnection(address)
    for body in bodies:
        connection.request("POST", "/feedback", body, _JSON)
        answer = json.loads(connection.getresponse().read())
        if answer.get("accepted") != BATCH:
            raise RuntimeError(f"not all events were accepted: {answer}")


def _latencies(server: Server, stop: threading.Event, seconds: float) -> list[float]:
    connection = http.client.HTTPConnection(server.address)
    found = []
    deadline = time.perf_counter() + seconds
    while not stop.is_set() and time.perf_counter() < deadline:
        began = time.perf_counter()
        connection.request("POST", "/predict_ctr", ROW, _JSON)
        connection.getresponse().read()
        found.append(time.perf_counter() - began)
        stop.wait(0.005)
    return found


if __name__ == "__main__":
    main()
