"""Ticks in ``.npz`` files, as :func:`read_ticks` documents them."""

import zipfile
from pathlib import Path

import numpy as np

from service.monitoring.drift.ticks import Aggregates, Ticks


class UnusableTicksError(ValueError):
    """A file of ticks cannot be used; the message names the file and what is wrong."""


def read_ticks(path: Path) -> Ticks:
    """Read ticks from an ``.npz`` file.

    Raises:
        UnusableTicksError: An array is missing or has the wrong shape or content.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: np.asarray(arrays[name], dtype=np.float64) for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UnusableTicksError(f"{path}: {error}") from error
    try:
        ticks = Ticks(
            time=content["time"],
            predictions=_aggregates(content, "prediction"),
            latency=_aggregates(content, "latency"),
        )
    except KeyError as error:
        raise UnusableTicksError(f"{path} lacks the array {error}") from error
    problem = _problem(ticks)
    if problem:
        raise UnusableTicksError(f"{path}: {problem}")
    return ticks


def _aggregates(content: dict[str, np.ndarray], quantity: str) -> Aggregates:
    return Aggregates(
        total=content[f"{quantity}_sum"],
        squares=content[f"{quantity}_sum_squares"],
        buckets=content[f"{quantity}_buckets"],
        bounds=content[f"{quantity}_bounds"],
    )


def _problem(ticks: Ticks) -> str | None:
    if not len(ticks) or ticks.time.ndim != 1 or not (np.diff(ticks.time) > 0).all():
        return "time is not a list of ascending times"
    quantities = (("prediction", ticks.predictions), ("latency", ticks.latency))
    problems = (_problem_of(name, quantity, len(ticks)) for name, quantity in quantities)
    return next((problem for problem in problems if problem), None)


def _problem_of(name: str, quantity: Aggregates, length: int) -> str | None:
    bounds = quantity.bounds[np.isfinite(quantity.bounds)]
    shape = (length, len(bounds) + 1)
    if len(bounds) != len(quantity.bounds) or not (np.diff(bounds) > 0).all():
        return f"{name}_bounds are not finite and ascending"
    if quantity.buckets.shape != shape:
        return f"{name}_buckets have shape {quantity.buckets.shape}, not {shape}"
    if quantity.total.shape != (length,) or quantity.squares.shape != (length,):
        return f"{name}_sum or {name}_sum_squares are not one a tick"
    if not all(
        np.isfinite(part).all() and (part >= 0).all()
        for part in (quantity.buckets, quantity.total, quantity.squares)
    ):
        return f"{name}: a number is negative or not finite"
    return None
