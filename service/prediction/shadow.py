"""Shadow scoring: what a model would have answered, found out after others have answered."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.prediction.ad_request import AdRequest
from service.prediction.serving import Shadowing
from service.telemetry.recorder import Recorder

_PAUSE_SECONDS = 0.02
"""What arrives meanwhile is scored in one call: its cost per call is many times that per row."""
_AT_ONCE = 256
_MOST_WAITING = 4096

_LOGGER = logging.getLogger(__name__)


class _Answered(NamedTuple):
    """An ad request that was answered, and a model that is to score it too."""

    shadowing: Shadowing
    request: AdRequest
    score: float


class ShadowScorer:
    """Scores with shadow models on the event loop, between the turns that answer.

    Whatever a shadow model does, no answer waits for it, is changed by it or fails with it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._waiting: deque[_Answered] = deque()
        self._scheduled = False
        self._failing: set[str] = set()

    def offer(
        self,
        shadows: Sequence[Shadowing],
        requests: Sequence[AdRequest],
        answered: NDArray[np.float64],
        *,
        salt: str,
    ) -> None:
        """Take note of ad requests and the scores that were answered, shape ``(n,)``.

        Which of them a model scores depends on the salt, the model and the request alone.
        """
        for shadowing in shadows:
            model, share = shadowing.bundle.name, shadowing.share
            self._waiting.extend(
                _Answered(shadowing, request, score)
                for request, score in zip(requests, answered.tolist(), strict=True)
                if is_drawn(request, share, salt=salt, model=model)
            )
        if self._waiting and not self._scheduled:
            self._schedule()

    def finish(self) -> None:
        """Score what is still waiting; nothing may follow."""
        while self._waiting:
            self._score_some()

    def _schedule(self) -> None:
        # Never at once: the answers of this turn leave first.
        asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._run)
        self._scheduled = True

    def _run(self) -> None:
        self._scheduled = False
        self._score_some()
        while len(self._waiting) > _MOST_WAITING:
            self._score_some()
        if self._waiting:
            self._schedule()

    def _score_some(self) -> None:
        taken = list(islice(self._waiting, _AT_ONCE))
        for _ in taken:
            self._waiting.popleft()
        groups: dict[int, list[_Answered]] = {}
        for one in taken:
            groups.setdefault(id(one.shadowing.bundle), []).append(one)
        for rows in groups.values():
            self._score(rows)
        self._recorder.flush()

    def _score(self, rows: Sequence[_Answered]) -> None:
        """Score rows of one model; where that fails, one by one, so that one row fails alone."""
        bundle, recorder, _ = rows[0].shadowing
        try:
            scores = bundle.model.predict(bundle.encoder.encode([row.request for row in rows]))
            usable = np.isfinite(scores)
        except Exception:
            if len(rows) > 1:
                for row in rows:
                    self._score([row])
                return
            # Once a streak: a model that fails at every request must not fill the disk.
            if bundle.name not in self._failing:
                _LOGGER.exception(
                    "the shadow model %s fails; answers are not affected", bundle.name
                )
            self._failing.add(bundle.name)
            recorder.failed(1)
            return
        self._failing.discard(bundle.name)
        if not usable.all():
            recorder.failed(int((~usable).sum()))
        if usable.any():
            answered = np.array([row.score for row in rows])
            recorder.predicted(scores[usable], answered[usable])


def is_drawn(request: AdRequest, share: float, *, salt: str, model: str) -> bool:
    """Tell whether a request is in the share that ``model`` scores in the shadow.

    The draw has nothing to do with the assignment to variants, nor with that of other models.
    """
    if share >= 1:
        return True
    text = "\x1f".join(map(str, ("shadow", salt, model, *request)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < share
