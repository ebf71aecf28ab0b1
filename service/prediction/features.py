"""From an ad request to numbers: the one encoding that training and serving share.

Every key of a request (the ids, parts of ids, hour and day) is looked up in a table that holds
its features as ready float32 bytes, so that one row costs a few dictionary lookups and a million
rows take the same path. A key that training never saw has the effect 0 and the count 0.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, groupby, islice, repeat
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import HOURS_PER_DAY
from service.prediction.ad_request import AdRequest
from service.prediction.feature_table import (
    FLOAT_BYTES,
    Table,
    check_table,
    columns_of,
    table_of,
)
from service.prediction.request_keys import KEYS, Key, whole

FEATURES_FORMAT = 1
DAYS_PER_WEEK = 7

MAX_NAMED_VALUES = 20
"""Values of ``device`` and ``placement`` that get a series of their own."""

SEEN, UNSEEN, OTHER = "(seen)", "(unseen)", "(other)"


class FeatureEncoder:
    """Encodes requests with the tables that training fitted; immutable.

    Args:
        tables: A table for each of ``KEYS``, by its name.

    Raises:
        ValueError: A table is missing, unknown, too long, or holds a number that is not finite.
    """

    def __init__(self, tables: Mapping[str, Table]) -> None:
        expected = {key.table for key in KEYS}
        if tables.keys() != expected:
            wrong = ", ".join(sorted(tables.keys() ^ expected))
            raise ValueError(f"feature tables missing or unknown: {wrong}")
        for key in KEYS:
            check_table(tables[key.table], key)
        self._tables = tables
        self._lookups = tuple(_lookups(tables))
        self.names: tuple[str, ...] = tuple(
            f"{key.table}_{feature}" for key in KEYS for feature in key.features
        )
        """Names of the feature columns, in order."""
        devices, self._device_index = _named_values(tables["device"])
        placements, self._placement_index = _named_values(tables["placement"])
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
        self._unseen_device = devices.index(UNSEEN)
        self._unseen_placement = placements.index(UNSEEN)

    @property
    def tables(self) -> Mapping[str, Table]:
        """What keys are looked up in, by ``Key.table``: the argument."""
        return self._tables

    def encode(self, requests: Sequence[AdRequest]) -> NDArray[np.float32]:
        """Look up the features of each request, shape ``(n, len(names))``, read-only."""
        fields = _fields(requests)
        columns = [
            map(find, fields[i] if part is whole else map(part, fields[i]), *otherwise)
            for i, part, find, otherwise in self._lookups
        ]
        rows = b"".join(chain.from_iterable(zip(*columns, strict=True)))
        return np.ndarray((len(requests), len(self.names)), np.float32, rows)

    def value_indices(self, requests: Sequence[AdRequest]) -> NDArray[np.int64]:
        """Find the position of each request's value in each of ``vocabularies``, in order.

        Returns:
            Indices, shape ``(n, len(vocabularies))``.
        """
        users, ads = self._tables["user"], self._tables["ad"]
        device_index, placement_index = self._device_index.get, self._placement_index.get
        new_device, new_placement = self._unseen_device, self._unseen_placement
        # As bytes, for the way from Python's integers to numpy's is short that way, and there are
        # far fewer than 256 values in any vocabulary.
        indices = bytes(
            [
                index
                for user_id, ad_id, device, placement, hour, day_of_week in requests
                for index in (
                    user_id not in users,
                    ad_id not in ads,
                    device_index(device, new_device),
                    placement_index(placement, new_placement),
                    hour,
                    day_of_week,
                )
            ]
        )
        shape = (len(requests), len(self.vocabularies))
        return np.ndarray(shape, np.uint8, indices).astype(np.int64)

    def to_json(self) -> str:
        """Serialise without loss: float32 values round-trip exactly."""
        tables = {key.table: columns_of(self._tables[key.table], key) for key in KEYS}
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
            encoder = cls({key.table: _table(content["tables"], key) for key in KEYS})
            if tuple(content["names"]) != encoder.names:
                raise ValueError("the feature names are not this version's")
        except KeyError as error:
            raise ValueError(f"features lack the field {error}") from error
        except (TypeError, AttributeError) as error:
            raise ValueError(f"features are malformed ({error})") from error
        return encoder


def _table(tables: Mapping[str, Any], key: Key) -> Table:
    columns = tables[key.table]
    return table_of(columns["keys"], [columns[feature] for feature in key.features])


class _Lookup(NamedTuple):
    """One part of a row: the features of a key, or of a value and its parts together."""

    field: int
    """Position in :class:`AdRequest`."""
    part: Callable[[Any], str | int]
    find: Callable[..., bytes]
    otherwise: tuple[Iterable[bytes], ...]
    """What ``find`` takes beside each key: the features of an unknown one, where it needs them."""


_JOINED_FIELDS = {"ad_id", "placement"}
"""Few values make most of the traffic, and to cut out the parts of one costs more than to look it
up."""

_MAX_JOINED = 10_000
"""Values of a field: about 2 MB."""


def _lookups(tables: Mapping[str, Table]) -> Iterable[_Lookup]:
    for field, keys in groupby(KEYS, key=lambda key: key.field):
        place = AdRequest._fields.index(field)
        if field in _JOINED_FIELDS:
            yield _Lookup(place, whole, _Joined(tuple(keys), tables).__getitem__, ())
            continue
        for key in keys:
            table = tables[key.table]
            yield _Lookup(place, key.part, table.get, (repeat(_nothing_known(key)),))


class _Joined(dict[str | int, bytes]):
    """The features of a value with those of its parts, joined for the most frequent values."""

    def __init__(self, keys: Sequence[Key], tables: Mapping[str, Table]) -> None:
        self._parts = [(tables[key.table].get, key.part, _nothing_known(key)) for key in keys]
        known = tables[next(key.table for key in keys if key.part is whole)]
        often = islice(known, _MAX_JOINED)
        super().__init__((value, self.__missing__(value)) for value in often)

    def __missing__(self, value: str | int) -> bytes:
        return b"".join([find(part(value), nothing) for find, part, nothing in self._parts])


def _nothing_known(key: Key) -> bytes:
    return bytes(FLOAT_BYTES * len(key.features))


def _fields(requests: Sequence[AdRequest]) -> tuple[tuple[Any, ...], ...]:
    """Turn rows into columns, in the order of :class:`AdRequest`."""
    return tuple(zip(*requests, strict=True)) or ((),) * len(AdRequest._fields)


def _named_values(keys: Iterable[str | int]) -> tuple[tuple[str, ...], dict[str | int, int]]:
    """Name the most frequent values; the last two places are for the others and the unseen."""
    seen = list(keys)
    named = [str(key) for key in seen if key not in {OTHER, UNSEEN}][:MAX_NAMED_VALUES]
    index: dict[str | int, int] = dict.fromkeys(seen, len(named))
    index.update((name, i) for i, name in enumerate(named))
    return (*named, OTHER, UNSEEN), index
