"""Fitting the feature tables, and features for training rows that do not know their own label.

A key's effect is its observed click rate against the log's, drawn towards it by ``PRIOR_CLICKS``.
Taken over the training rows themselves such an effect contains each row's own label, and a model
would trust it far too much. So the training matrix is made by encoders fitted without the row:
the log is cut into consecutive blocks of time, and each block is encoded by an encoder fitted on
the other blocks. Blocks of time, rather than random rows, because that is how a model is used:
on hours, users and ads of another time. An hour or weekday that occurs in one block only is then
unseen there, and the model does not learn to lean on it.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from service.prediction.feature_table import MAX_KEYS_PER_TABLE, Table, table_of
from service.prediction.features import FeatureEncoder
from service.prediction.request_keys import EFFECT, KEYS, LOG_COUNT, Key
from service.progress import shown
from service.training.click_log import ClickLog

BLOCKS = 5

PRIOR_CLICKS = 3.0
"""Clicks at the log's own rate that every key is given beforehand."""

_CHUNK = 100_000


def fit_encoder(log: ClickLog) -> FeatureEncoder:
    """Fit the tables on all rows of a log, which must hold clicks and non-clicks."""
    return _fit(log, np.ones(len(log), dtype=np.bool_))


def encode_log(encoder: FeatureEncoder, log: ClickLog) -> NDArray[np.float32]:
    """Encode every row as serving would, shape ``(n, d)``."""
    features = np.empty((len(log), len(encoder.names)), dtype=np.float32)
    for start in shown(range(0, len(log), _CHUNK), "encoding", "block"):
        rows = slice(start, start + _CHUNK)
        features[rows] = encoder.encode(log[rows].requests())
    return features


def out_of_block_features(log: ClickLog) -> NDArray[np.float32]:
    """Encode every row with what the other blocks of time know, shape ``(n, d)``."""
    edges = np.linspace(0, len(log), BLOCKS + 1).astype(int)
    parts = []
    for start, stop in pairwise(edges):
        others = np.ones(len(log), dtype=np.bool_)
        others[start:stop] = False
        parts.append(encode_log(_fit(log, others), log[start:stop]))
    return np.concatenate(parts)


def _fit(log: ClickLog, rows: NDArray[np.bool_]) -> FeatureEncoder:
    clicks = log.click[rows]
    # Half a click on each side: a block's complement may hold no click at all.
    rate = (clicks.sum() + 0.5) / (len(clicks) + 1.0)
    return FeatureEncoder({key.table: _table(log, key, rows, rate) for key in KEYS})


def _table(log: ClickLog, key: Key, rows: NDArray[np.bool_], rate: float) -> Table:
    codes, values = _keys(log, key)
    impressions = np.bincount(codes[rows], minlength=len(values))
    clicks = np.bincount(codes[rows], weights=log.click[rows], minlength=len(values))
    smoothed = (clicks + PRIOR_CLICKS) / (impressions + PRIOR_CLICKS / rate)
    features = {
        EFFECT: _log_odds(smoothed) - _log_odds(rate),
        # As if every encoder had seen the whole log: those of blocks must not look less sure.
        LOG_COUNT: np.log1p(impressions * (len(rows) / rows.sum())),
    }
    most_frequent = np.argsort(-impressions, kind="stable")[:MAX_KEYS_PER_TABLE]
    kept = most_frequent[impressions[most_frequent] > 0]
    columns = [features[name][kept].tolist() for name in key.features]
    return table_of([values[i] for i in kept], columns)


def _keys(log: ClickLog, key: Key) -> tuple[NDArray[np.int64], list[str | int]]:
    """Return the position of each row's key among the distinct keys, and those keys."""
    column = getattr(log, key.field)
    if isinstance(column, np.ndarray):
        distinct, codes = np.unique(column, return_inverse=True)
        return codes, distinct.tolist()
    positions: dict[str | int, int] = {}
    of_value = [positions.setdefault(key.part(value), len(positions)) for value in column.values]
    return np.array(of_value, dtype=np.int64)[column.codes], list(positions)


def _log_odds(probability: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(np.log(probability) - np.log1p(-np.asarray(probability)))
