"""Clients that keep their connections and send on while something is released."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import httpx
from service_process import NO_TLS

REQUEST = {
    "user_id": "u",
    "ad_id": "a",
    "device": "mobile",
    "placement": "header",
    "hour": 1,
    "day_of_week": 1,
}


@dataclass
class Traffic:
    """What was sent and answered; every user is another one, so all variants get some."""

    url: str
    reconnect: bool = False
    """Whether a broken connection is none of the service's faults: its worker was killed."""
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Iterator[int] = field(default_factory=count)
    sent: int = 0
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By model and version."""
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS) as client:
                    while not self.stopping.is_set():
                        self.send_one(client)
            except httpx.TransportError as error:
                if not self.reconnect:
                    with self.lock:
                        self.failed.append(repr(error))

    def send_one(self, client: httpx.Client) -> None:
        with self.lock:
            self.sent += 1
            user = f"u{next(self.numbers)}"
        answer = client.post("/predict_ctr", json=REQUEST | {"user_id": user})
        with self.lock:
            if answer.status_code == httpx.codes.OK:
                body = answer.json()
                self.answered[body["model_name"], body["model_version"]] += 1
                self.seconds.append(answer.elapsed.total_seconds())
            else:
                self.failed.append(answer.text)

    def answered_by(self, model: str, version: str) -> int:
        with self.lock:
            return self.answered[model, version]


@contextmanager
def traffic(url: str, *, clients: int = 4, reconnect: bool = False) -> Iterator[Traffic]:
    running = Traffic(url, reconnect)
    threads = [threading.Thread(target=running.run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.stopping.set()
        for thread in threads:
            thread.join()
