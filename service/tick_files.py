"""Ticks in ``.npz`` files, as :func:`read_ticks` documents them."""

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile

from service.monitoring.drift.ticks import Aggregates, Floats, Ticks
from service.tick_checks import QUANTITIES, first_problem

_PARTS = ("sum", "sum_squares", "buckets", "bounds")
_REQUIRED = ("time", *(f"{quantity}_{part}" for quantity in QUANTITIES for part in _PARTS))
_OPTIONAL = ("count",)
_SAME = 1e-6
"""Bounds that agree to this share are the same; one file may have single precision."""


class UnusableTicksError(ValueError):
    """A file of ticks cannot be used; the message names the file and what is wrong."""


def read_ticks(path: Path) -> Ticks:
    """Read ticks from an ``.npz`` file.

    Arrays: ``time`` (end of each tick in Unix seconds); ``prediction_sum``,
    ``prediction_sum_squares``, ``prediction_buckets`` (ticks by buckets, not cumulative),
    ``prediction_bounds`` (finite upper bounds of all buckets but the last); the same with
    ``latency_``, in seconds. ``count`` may be there and then is what the buckets add up to.

    Raises:
        UnusableTicksError: An array is missing or has the wrong shape or content.
    """
    arrays = _arrays(path)
    problem = first_problem(arrays)
    if problem:
        raise UnusableTicksError(f"{path}: {problem}")
    predictions, latency = (
        Aggregates(
            total=arrays[f"{quantity}_sum"],
            squares=arrays[f"{quantity}_sum_squares"],
            buckets=arrays[f"{quantity}_buckets"],
            bounds=arrays[f"{quantity}_bounds"],
        )
        for quantity in QUANTITIES
    )
    return Ticks(time=arrays["time"], predictions=predictions, latency=latency)


def read_both(reference: Path, ticks: Path) -> tuple[Ticks, Ticks]:
    """Read two files that have the same buckets.

    Raises:
        UnusableTicksError: One cannot be used, or their bounds differ.
    """
    good, seen = read_ticks(reference), read_ticks(ticks)
    for name, mine, theirs in (
        ("prediction_bounds", seen.predictions.bounds, good.predictions.bounds),
        ("latency_bounds", seen.latency.bounds, good.latency.bounds),
    ):
        difference = _difference(mine, theirs)
        if difference:
            raise UnusableTicksError(
                f"{ticks} has other bucket bounds than {reference}: {name} {difference}; "
                "both need the same buckets"
            )
    return good, replace(
        seen,
        predictions=replace(seen.predictions, bounds=good.predictions.bounds),
        latency=replace(seen.latency, bounds=good.latency.bounds),
    )


def _difference(mine: Floats, theirs: Floats) -> str | None:
    if mine.shape != theirs.shape:
        return f"are {len(mine)}, not {len(theirs)}"
    for row in np.flatnonzero(~np.isclose(mine, theirs, rtol=_SAME, atol=0.0))[:1]:
        return f"has {mine[row]:g} at [{row}], not {theirs[row]:g}"
    return None


def _arrays(path: Path) -> dict[str, Floats]:
    try:
        with path.open("rb") as raw, _opened(path, raw) as file:
            return {name: _numbers(path, name, file) for name in _names(path, file)}
    except UnusableTicksError:
        raise
    except OSError as error:
        raise UnusableTicksError(f"{path}: {error.strerror or error}") from error
    except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UnusableTicksError(f"{path} is no whole .npz file: {error}") from error


def _opened(path: Path, raw: BinaryIO) -> NpzFile:
    try:
        file = np.load(raw, allow_pickle=False)
    except ValueError:
        file = None  # Neither an archive nor an array; what numpy says is about pickles.
    if not isinstance(file, NpzFile):
        raise UnusableTicksError(f"{path} is no archive of arrays: write it by numpy.savez")
    return file


def _names(path: Path, file: NpzFile) -> list[str]:
    missing = [name for name in _REQUIRED if name not in file.files]
    if missing:
        raise UnusableTicksError(f"{path} lacks the array {', '.join(missing)}")
    return [name for name in (*_REQUIRED, *_OPTIONAL) if name in file.files]


def _numbers(path: Path, name: str, file: NpzFile) -> Floats:
    try:
        array = file[name]
    except ValueError as error:
        raise UnusableTicksError(f"{path}: {name}: {error}; save it as numbers") from error
    if array.dtype.kind not in "iuf":
        raise UnusableTicksError(f"{path}: {name} is {array.dtype}: real numbers are expected")
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float64)
