"""Clients of a service that is being broken, and exactly what it has acknowledged to them."""

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from prometheus_server import wait_until
from service_process import NO_TLS

MODEL = "xgboost"
SCALE = int(os.environ.get("KILL_TEST_SCALE", "1"))
"""Many times the faults: a long run, by hand or by night."""
_PACE_SECONDS = 0.01
_CLICKS_A_BATCH = 5
_BASELINE_EVERY = 10
REQUEST = {
    "user_id": "u",
    "ad_id": "a",
    "device": "mobile",
    "placement": "header",
    "hour": 1,
    "day_of_week": 1,
}


@dataclass
class Ledger:
    """What was sent, and what of it was acknowledged: the rest may have happened or not."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    """Predictions that were asked for, whatever came of it."""
    answered: int = 0
    """Predictions that were answered."""
    unsettled: set[str] = field(default_factory=set)
    """Ids of predictions whose click was sent and not acknowledged yet."""
    clicked: set[str] = field(default_factory=set)
    """Ids of predictions whose click was acknowledged."""
    sent_baselines: list[float] = field(default_factory=list)
    """Their means; no two are equal."""
    saved_baselines: list[float] = field(default_factory=list)
    """Those that were acknowledged."""
    refused: Counter[int] = field(default_factory=Counter)
    """Answers that acknowledge nothing, by status."""
    broken: int = 0
    """Requests whose connection was refused, or ended without an answer."""

    def predict(self, client: httpx.Client, user: str) -> None:
        """Ask for a prediction; it is to be clicked if it is answered."""
        with self.lock:
            self.sent += 1
        body = REQUEST | {"user_id": user}
        answer = client.post("/predict_ctr", params={"model_name": MODEL}, json=body)
        with self.lock:
            if answer.status_code == httpx.codes.OK:
                self.answered += 1
                self.unsettled.add(answer.json()["prediction_id"])
            else:
                self.refused[answer.status_code] += 1

    def tally(self) -> tuple[int, int, int]:
        """Acknowledged predictions, clicks and baselines."""
        with self.lock:
            return self.answered, len(self.clicked), len(self.saved_baselines)


@dataclass
class Clients:
    """Clients that predict, click and set baselines; what is in doubt is sent again."""

    url: str
    ledger: Ledger
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, clients: int) -> None:
        for seed in range(clients):
            self.threads.append(threading.Thread(target=self.run, args=(seed,)))
            self.threads[-1].start()

    def finish(self) -> None:
        """Stop sending; then nothing is in doubt but unanswered predictions and baselines."""
        self.stop()
        self._settle()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def run(self, seed: int) -> None:
        chance = random.Random(seed)
        turn = 0
        while not self.stopping.is_set():
            try:
                # A connection for each few requests, so that every worker gets some.
                with httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS) as client:
                    for _ in range(10):
                        turn += 1
                        self._take_turn(client, turn, chance)
                        self.stopping.wait(_PACE_SECONDS)
            except httpx.TransportError:
                with self.ledger.lock:
                    self.ledger.broken += 1
                self.stopping.wait(_PACE_SECONDS)

    def _take_turn(self, client: httpx.Client, turn: int, chance: random.Random) -> None:
        self.ledger.predict(client, f"u{chance.randrange(10_000)}")
        if turn % _CLICKS_A_BATCH == 0:
            with self.ledger.lock:
                batch = sorted(self.ledger.unsettled)[: 2 * _CLICKS_A_BATCH]
            self.click(client, batch)
        if turn % _BASELINE_EVERY == 0:
            self._set_baseline(client)

    def click(self, client: httpx.Client, ids: Sequence[str]) -> None:
        """Say that these were clicked; two clients may say it of the same at the same time."""
        if not ids:
            return
        ledger = self.ledger
        events = [{"prediction_id": prediction_id, "clicked": True} for prediction_id in ids]
        answer = client.post("/feedback", json={"events": events})
        with ledger.lock:
            if answer.status_code != httpx.codes.OK:
                ledger.refused[answer.status_code] += 1
                return
            body = answer.json()
            assert body["accepted"] + body["duplicates"] == len(ids), body
            ledger.unsettled.difference_update(ids)
            ledger.clicked.update(ids)

    def _set_baseline(self, client: httpx.Client) -> None:
        ledger = self.ledger
        with ledger.lock:
            mean = 0.01 + 1e-6 * len(ledger.sent_baselines)
            ledger.sent_baselines.append(mean)
        body = {
            "model_name": MODEL,
            "mean_prediction": mean,
            "std_prediction": 0.01,
            "mean_latency_ms": 5,
            "std_latency_ms": 1,
        }
        answer = client.post("/monitoring/baseline", json=body)
        with ledger.lock:
            if answer.status_code == httpx.codes.OK:
                ledger.saved_baselines.append(mean)
            else:
                ledger.refused[answer.status_code] += 1

    def _settle(self) -> None:
        """Send every click again that is in doubt, until the last one is acknowledged."""
        with httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS) as client:

            def all_settled() -> bool:
                try:
                    self.click(client, sorted(self.ledger.unsettled)[:1000])
                except httpx.TransportError:
                    return False
                return not self.ledger.unsettled

            wait_until(all_settled, seconds=60, what="every click is acknowledged")

    def wait_for_answers(self, more: int, *, seconds: float = 60) -> None:
        """Wait until so many more predictions are answered, and a click and a baseline too."""
        before = self.ledger.tally()

        def all_go_on() -> bool:
            answered, clicked, saved = self.ledger.tally()
            return answered >= before[0] + more and clicked > before[1] and saved > before[2]

        wait_until(all_go_on, seconds=seconds, what=f"{more} answers, a click and a baseline")


@contextmanager
def acknowledged_traffic(url: str, ledger: Ledger, *, clients: int = 3) -> Iterator[Clients]:
    """Send until the block is left or the clients finish."""
    running = Clients(url, ledger)
    running.start(clients)
    try:
        yield running
    except BaseException:
        running.stop()
        raise
    running.finish()
