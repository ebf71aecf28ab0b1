"""Bars of long work, on a terminal only."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

from tqdm import tqdm

_T = TypeVar("_T")


def progress_of(doing: str, unit: str, *, total: int | None = None) -> "tqdm[Any]":
    """Make a bar that is moved by hand, and closed by its block."""
    return tqdm(
        desc=doing,
        unit=unit,
        total=total,
        unit_scale=True,
        delay=1,  # What is soon done needs none.
        leave=False,
        disable=not sys.stderr.isatty(),
    )


def shown(items: Iterable[_T], doing: str, unit: str, *, total: int | None = None) -> Iterator[_T]:
    """Go through ``items`` and move a bar with each."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_of(doing, unit, total=total) as bar:
        for item in items:
            yield item
            bar.update()
