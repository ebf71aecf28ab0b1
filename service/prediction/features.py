"""From an ad request to numbers: the one encoding that training and serving share.

Every key of a request (the ids, parts of ids, hour and day) is looked up in a table that holds
its features as ready float32 bytes, so that one row costs a few dictionary lookups and a million
rows take the same path. A key that training never saw has the effect 0 and the count 0.
"""

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import HOURS_PER_DAY
from service.prediction.ad_request import AdRequest
from service.prediction.request_keys import KEYS, whole

FEATURES_FORMAT = 1
DAYS_PER_WEEK = 7

MAX_KEYS_PER_TABLE = 200_000
"""Only the most frequent keys are kept: about 30 MB a table, however long the log was."""

MAX_NAMED_VALUES = 20
"""Values of ``device`` and ``placement`` that get a series of their own."""

SEEN, UNSEEN, OTHER = "(seen)", "(unseen)", "(other)"


Table = Mapping[str | int, tuple[float, ...]]
"""The features of each key, in the order of ``Key.features``; the most frequent key first."""


class FeatureEncoder:
    """Encodes requests with the tables that training fitted; immutable.

    Args:
        tables: A table for each of ``KEYS``, by its name.

    Raises:
        ValueError: A table is missing, unknown, too long, or holds a number that is not finite.
    """

    def __init__(self, tables: Mapping[str, Table]) -> None:
        _check(tables)
        self._tables = {key.table: dict(tables[key.table]) for key in KEYS}
        self._lookups = tuple(
            (
                AdRequest._fields.index(key.field),
                key.part,
                _packed(self._tables[key.table]).get,
                np.zeros(len(key.features), dtype=np.float32).tobytes(),
            )
            for key in KEYS
        )
        self.names: tuple[str, ...] = tuple(
            f"{key.table}_{feature}" for key in KEYS for feature in key.features
        )
        """Names of the feature columns, in order."""
        devices, self._device_index = _named_values(self._tables["device"])
        placements, self._placement_index = _named_values(self._tables["placement"])
        self.vocabularies: Mapping[str, tuple[str, ...]] = MappingProxyType(
            {
                "user": (SEEN, UNSEEN),
                "ad": (SEEN, UNSEEN),
                "device": devices,
                "placement": placements,
                "hour": tuple(map(str, range(HOURS_PER_DAY))),
                "day_of_week": tuple(map(str, range(DAYS_PER_WEEK))),
            }
        )
        """Every value that a monitored feature can take, by feature."""

    @property
    def tables(self) -> Mapping[str, Table]:
        """What keys are looked up in, by ``Key.table``: the argument."""
        return self._tables

    def encode(self, requests: Sequence[AdRequest]) -> NDArray[np.float32]:
        """Look up the features of each request, shape ``(n, len(names))``, read-only."""
        fields = tuple(zip(*requests, strict=True)) or ((),) * len(AdRequest._fields)
        columns = (
            map(get, fields[i] if part is whole else map(part, fields[i]), repeat(nothing_known))
            for i, part, get, nothing_known in self._lookups
        )
        row_parts = chain.from_iterable(zip(*columns, strict=True))
        rows = np.frombuffer(b"".join(row_parts), dtype=np.float32)
        return rows.reshape(len(requests), len(self.names))

    def value_indices(self, request: AdRequest) -> tuple[int, ...]:
        """Return the position of the request's value in each of ``vocabularies``, in order."""
        devices, placements = self._device_index, self._placement_index
        return (
            0 if request.user_id in self._tables["user"] else 1,
            0 if request.ad_id in self._tables["ad"] else 1,
            devices.get(request.device, len(self.vocabularies["device"]) - 1),
            placements.get(request.placement, len(self.vocabularies["placement"]) - 1),
            request.hour,
            request.day_of_week,
        )

    def to_json(self) -> str:
        """Serialise without loss: float32 values round-trip exactly."""
        tables = {key.table: _columns(self._tables[key.table], key.features) for key in KEYS}
        return json.dumps({"format": FEATURES_FORMAT, "names": self.names, "tables": tables})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not of this format; the message names the part at fault.
        """
        try:
            content = json.loads(text)
            if content["format"] != FEATURES_FORMAT:
                raise ValueError(f"features format {content['format']} is not {FEATURES_FORMAT}")
            tables = content["tables"]
            encoder = cls({key.table: _rows(tables[key.table], key.features) for key in KEYS})
            if tuple(content["names"]) != encoder.names:
                raise ValueError("the feature names are not this version's")
        except KeyError as error:
            raise ValueError(f"features lack the field {error}") from error
        except (TypeError, AttributeError) as error:
            raise ValueError(f"features are malformed ({error})") from error
        return encoder


def _columns(table: Table, features: Sequence[str]) -> dict[str, Sequence[Any]]:
    values = [[float(np.float32(row[i])) for row in table.values()] for i in range(len(features))]
    return {"keys": list(table), **dict(zip(features, values, strict=True))}


def _rows(columns: Mapping[str, Sequence[Any]], features: Sequence[str]) -> Table:
    rows = zip(*(columns[feature] for feature in features), strict=True)
    return dict(zip(columns["keys"], rows, strict=True))


def _check(tables: Mapping[str, Table]) -> None:
    expected = {key.table for key in KEYS}
    if tables.keys() != expected:
        wrong = ", ".join(sorted(tables.keys() ^ expected))
        raise ValueError(f"feature tables missing or unknown: {wrong}")
    for key in KEYS:
        table = tables[key.table]
        if len(table) > MAX_KEYS_PER_TABLE:
            raise ValueError(f"table {key.table} has {len(table)} keys, over {MAX_KEYS_PER_TABLE}")
        if any(len(row) != len(key.features) for row in table.values()):
            raise ValueError(f"table {key.table} needs {', '.join(key.features)} for each key")
        if not all(map(math.isfinite, chain.from_iterable(table.values()))):
            raise ValueError(f"table {key.table} holds a number that is not finite")


def _packed(table: Table) -> dict[str | int, bytes]:
    return {key: array("f", row).tobytes() for key, row in table.items()}


def _named_values(keys: Iterable[str | int]) -> tuple[tuple[str, ...], dict[str | int, int]]:
    """Name the most frequent values; the last two places are for the others and the unseen."""
    seen = list(keys)
    named = [str(key) for key in seen if key not in {OTHER, UNSEEN}][:MAX_NAMED_VALUES]
    index: dict[str | int, int] = dict.fromkeys(seen, len(named))
    index.update((name, i) for i, name in enumerate(named))
    return (*named, OTHER, UNSEEN), index
