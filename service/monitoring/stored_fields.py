"""Reading what was stored as JSON: a field is what it has to be, or the error names it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MALFORMED = (TypeError, AttributeError, ArithmeticError, RecursionError)
"""What JSON of another form makes its reader raise, beside ValueError and KeyError."""


def text(content: Mapping[str, Any], field: str) -> str:
    """Read a text.

    Raises:
        KeyError: The field is not there.
        ValueError: It is none.
    """
    found = content[field]
    if not isinstance(found, str):
        raise ValueError(f"{field}: {found!r:.40} is no text")  # noqa: TRY004 - of the content
    return found


def number(content: Mapping[str, Any], field: str, *, least: float = -math.inf) -> float:
    """Read a finite number of at least ``least``; an integer stays one.

    Raises:
        KeyError: The field is not there.
        ValueError: It is none.
    """
    found: Any = content[field]
    plain = isinstance(found, int | float) and not isinstance(found, bool)
    if not (plain and least <= found < math.inf and found > -math.inf):
        raise ValueError(f"{field}: {found!r:.40} is no number that it can be")
    return found  # type: ignore[no-any-return]


def number_or_none(content: Mapping[str, Any], field: str, *, least: float) -> float | None:
    """Read a number that may be null, as :func:`number` does."""
    return None if content[field] is None else number(content, field, least=least)


def floats(
    content: Mapping[str, Any], field: str, shape: tuple[int | None, ...]
) -> NDArray[np.float64]:
    """Read finite numbers; None in ``shape`` stands for any length but 0.

    Raises:
        KeyError: The field is not there.
        ValueError: They are of another shape, or one is not finite.
    """
    found = np.asarray(content[field])
    fits = len(found.shape) == len(shape) and all(
        size == wanted if wanted is not None else size > 0
        for size, wanted in zip(found.shape, shape, strict=True)
    )
    if not (fits and found.dtype.kind in "if" and np.isfinite(found).all()):
        raise ValueError(f"{field}: not finite numbers of the shape {shape}")
    return found.astype(np.float64)


def counts(
    content: Mapping[str, Any], field: str, shape: tuple[int | None, ...]
) -> NDArray[np.int64]:
    """Read whole numbers from 0; ``shape`` and errors are those of :func:`floats`."""
    found = floats(content, field, shape)
    if not ((found >= 0) & (found < 2.0**53) & (found % 1 == 0)).all():
        raise ValueError(f"{field}: a count is none")
    return found.astype(np.int64)
