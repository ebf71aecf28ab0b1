"""Damage that keeps the form: a document with one or more values replaced, left out or doubled.

Bytes changed at random seldom leave JSON that can be read, and then the checks behind it are never
reached.
"""

import json
from typing import Any

_ODD: tuple[Any, ...] = (
    *(None, True, False, "", "nan", "0", "x" * 300, "\ud800", "../..", "1e400"),
    *(0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf")),
    *([], {}, [[]], [None], [1], {"a": 1}, [[1, 2], [3]]),
)
_MOST_CHANGES = 3


class Choices:
    """Decisions that bytes make, one byte or two each; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, end: int) -> int:
        """Choose a number from 0 up to and without ``end``."""
        width = 1 if end <= 1 << 8 else 2
        taken = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(taken) % max(end, 1)

    @property
    def rest(self) -> bytes:
        """What has decided nothing yet."""
        return self._data[self._at :]


def damaged(document: bytes, choices: Choices) -> bytes:
    """Give a JSON document with up to three changes, each somewhere in it."""
    content = json.loads(document)
    for _ in range(1 + choices.below(_MOST_CHANGES)):
        content = _changed(content, choices)
    return json.dumps(content).encode()


def _changed(value: Any, choices: Choices) -> Any:  # noqa: ANN401 - any JSON
    inside = isinstance(value, dict | list) and len(value) and choices.below(8)
    if not inside:
        return _ODD[choices.below(len(_ODD))]
    place, what = choices.below(len(value)), choices.below(8)
    entries = list(value.items() if isinstance(value, dict) else enumerate(value))
    key, held = entries[place]
    # Left out, doubled, or changed itself.
    others: dict[int, list[tuple[Any, Any]]] = {0: [], 1: [(key, held), (f"{key}?", held)]}
    entries[place : place + 1] = (
        others[what] if what in others else [(key, _changed(held, choices))]
    )
    return dict(entries) if isinstance(value, dict) else [entry for _, entry in entries]
