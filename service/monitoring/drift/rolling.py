"""Sums over the last hour, kept by the minute."""

import numpy as np

from service.monitoring.drift.ticks import Floats

_SECONDS_PER_MINUTE = 60.0


def roll(rows: Floats, time: Floats, columns: Floats, seconds: float) -> tuple[Floats, Floats]:
    """Move the window over adjacent ticks.

    Args:
        rows: What is kept of earlier ticks, by the minute and oldest first; its first column is
            the minute. Shape ``(r, 1 + k)``.
        time: End of each tick in Unix seconds, shape ``(t,)``.
        columns: To be added up, shape ``(t, k)``.
        seconds: Length of the window, to the minute.

    Returns:
        What to keep, and the sums over the window that ends with each tick, shape ``(t, k)``.
    """
    # A tick that ends on the full minute belongs to the minute before.
    minute = np.ceil(time / _SECONDS_PER_MINUTE) - 1
    fresh = np.column_stack([minute, columns])
    every = np.concatenate([rows, fresh]) if len(rows) else fresh
    length = round(seconds / _SECONDS_PER_MINUTE)
    total = np.zeros((len(every) + 1, columns.shape[1]))
    np.cumsum(every[:, 1:], axis=0, out=total[1:])
    first = np.searchsorted(every[:, 0], minute - length, side="right")
    sums = total[len(every) - len(time) + 1 :] - total[first]
    kept = every[every[:, 0] > minute[-1] - length]
    starts = np.flatnonzero(np.diff(kept[:, 0], prepend=-np.inf))
    joined = np.zeros((len(starts), kept.shape[1]))
    joined[:, 0] = kept[starts, 0]
    # One after the other, so that a tick alone and a month at once add up to the same bits.
    np.add.at(joined[:, 1:], np.searchsorted(joined[:, 0], kept[:, 0]), kept[:, 1:])
    return joined, sums
