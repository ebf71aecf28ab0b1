"""Visitors: a thread that asks for predictions and sends clicks back, as a website would."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Self

import httpx
import numpy as np

from demo.audience import Audience

_SLICE_SECONDS = 0.1
_CLICKS_EVERY_SECONDS = 1.0
_MOST_CLICKS = 1000
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """How visitors behave."""

    campaign_share: float = 0.0
    """Share of the impressions that the new campaign buys."""
    click_share: float = 1.0
    """Share of the usual clicks that come."""


NORMAL = Mood()


@dataclass(frozen=True, slots=True)
class Seen:
    """What visitors have seen so far."""

    answered: int = 0
    """Prediction requests that got an answer, of whatever kind."""
    failed: int = 0
    """Those answered with an error."""
    clicks: int = 0
    """Clicks that the service took."""


class Visitors:
    """Steady traffic, until the block is left."""

    def __init__(self, url: str, audience: Audience, *, per_second: int, seed: int) -> None:
        self._client = httpx.Client(
            base_url=url,
            timeout=_PATIENCE_SECONDS,
            # A proxy that the user has for other hosts does not know this one.
            trust_env=False,
        )
        self._audience = audience
        self._per_slice = max(round(per_second * _SLICE_SECONDS), 1)
        self._rng = np.random.default_rng(seed)
        self._clicked: list[str] = []
        self._clicks_due = 0.0
        self._ending = threading.Event()
        # Held while a slice is on its way.
        self._busy = threading.Lock()
        self._thread = threading.Thread(target=self._keep_coming, name="visitors")
        self.mood = NORMAL
        self.seen = Seen()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._client.close()

    @contextmanager
    def resting(self) -> Iterator[Seen]:
        """Nobody comes while the block lasts; gives what was seen until then."""
        with self._busy:
            yield self.seen

    def _keep_coming(self) -> None:
        while not self._ending.is_set():
            began = time.monotonic()
            with self._busy:
                self._visit()
                if began >= self._clicks_due:
                    self._send_clicks()
                    self._clicks_due = began + _CLICKS_EVERY_SECONDS
            self._ending.wait(max(_SLICE_SECONDS - (time.monotonic() - began), 0.001))

    def _visit(self) -> None:
        mood = self.mood
        shown = self._audience.draw(
            self._rng, self._per_slice, campaign_share=mood.campaign_share, at=datetime.now(UTC)
        )
        answered = failed = 0
        for impression in shown:
            try:
                answer = self._client.post("/predict_ctr", json=impression.request)
            except httpx.TransportError:
                break
            answered += 1
            if answer.status_code != HTTPStatus.OK:
                failed += 1
            elif self._rng.random() < impression.click_probability * mood.click_share:
                self._clicked.append(answer.json()["prediction_id"])
        self._add(answered=answered, failed=failed)

    def _send_clicks(self) -> None:
        events = [{"prediction_id": one, "clicked": True} for one in self._clicked[:_MOST_CLICKS]]
        if not events:
            return
        try:
            answer = self._client.post("/feedback", json={"events": events})
        except httpx.TransportError:
            return
        del self._clicked[: len(events)]
        if answer.status_code == HTTPStatus.OK:
            self._add(clicks=answer.json()["accepted"])

    def _add(self, *, answered: int = 0, failed: int = 0, clicks: int = 0) -> None:
        before = self.seen
        self.seen = Seen(before.answered + answered, before.failed + failed, before.clicks + clicks)
