"""Scoring a log in pieces, a piece for each core at a time."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from service.prediction.features import FeatureEncoder
from service.scoring.column_encoding import ColumnEncoder
from service.scoring.log_chunks import Chunk
from service.scoring.predicting import Predict
from service.training.behaviour import Behaviour
from service.training.click_log import ClickLog


class Scored(NamedTuple):
    """The scores of one chunk."""

    predictions: NDArray[np.float64]
    """Predicted CTR, shape ``(n,)``."""
    clicks: NDArray[np.bool_] | None
    """What came of it, shape ``(n,)``; None where the log does not tell."""
    behaviour: Behaviour | None
    """None where nobody asked."""


class Totals(NamedTuple):
    """What is left of all chunks."""

    rows: int = 0
    sum_of_predictions: float = 0.0
    clicks: int | None = None
    """None where the log does not tell."""
    behaviour: Behaviour | None = None
    """None where nobody asked."""

    @property
    def mean_prediction(self) -> float:
        """Predicted CTR of the whole log."""
        return self.sum_of_predictions / self.rows

    def with_chunk(self, scored: Scored) -> Self:
        """Add one chunk."""
        clicks, behaviour = self.clicks, self.behaviour
        if scored.clicks is not None:
            clicks = (clicks or 0) + int(scored.clicks.sum())
        if scored.behaviour is not None:
            behaviour = scored.behaviour if behaviour is None else behaviour + scored.behaviour
        return type(self)(
            self.rows + len(scored.predictions),
            self.sum_of_predictions + float(scored.predictions.sum()),
            clicks,
            behaviour,
        )


class Scorer:
    """Scores chunks of a log; immutable, for use by several threads.

    Args:
        encoder: Of the model.
        predict: The model.
        with_behaviour: Whether to count what a baseline needs.
    """

    def __init__(self, encoder: FeatureEncoder, predict: Predict, *, with_behaviour: bool) -> None:
        self._vocabularies = encoder.vocabularies
        self._encoder = ColumnEncoder(encoder)
        self._predict = predict
        self._with_behaviour = with_behaviour

    def score(self, chunk: Chunk) -> Scored:
        """Check, encode and score one chunk.

        Raises:
            LogError: A value cannot be used; the message names file, column, row and the fix.
        """
        rows = chunk.impressions()
        predictions = self._predict(self._encoder.encode(rows))
        behaviour = None
        if self._with_behaviour:
            indices = self._encoder.value_indices(rows)
            behaviour = Behaviour.of(predictions, rows, indices, self._vocabularies)
        return Scored(predictions, rows.click if isinstance(rows, ClickLog) else None, behaviour)

    def score_all(self, chunks: Iterable[Chunk], *, threads: int) -> Iterator[Scored]:
        """Score chunks on so many threads; no more of them than that are waiting.

        pyarrow and XGBoost work without Python's lock, and so chunks beside each other.

        Yields:
            The scores of each chunk, in the order of the chunks.

        Raises:
            LogError: A chunk cannot be read, or holds a value that cannot be used.
        """
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque[Future[Scored]] = deque()
            try:
                for chunk in chunks:
                    ahead.append(pool.submit(self.score, chunk))
                    if len(ahead) > threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()
