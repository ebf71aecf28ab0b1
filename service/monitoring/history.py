"""The port to what the registry held earlier: stored snapshots, and those that a window needs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from service.monitoring.snapshot import Snapshot

TICKS_KEPT_SECONDS = 2 * 3600.0
"""How long every tick is kept, unless a setting says otherwise."""
HISTORY_SECONDS = 7 * 86400.0
"""How long minutes are kept, unless a setting says otherwise."""


class Tick(NamedTuple):
    """A stored snapshot and its place in history."""

    tick: float
    """The boundary of the clock that the snapshot was taken for, in Unix seconds. An epoch's
    final totals belong to no boundary; theirs is the time of reading."""
    final: bool
    """Whether these are the totals that an epoch ended with."""
    snapshot: Snapshot


class History(Protocol):
    """The snapshots of one scope, kept across restarts.

    Their order is that of the counters: by epoch, then by tick. Each life's epoch must be greater
    than the one before, even where the wall clock was set back in between (see `last_epoch`).
    Where lives overlap on the wall clock, a time means the newest life that has it.

    Every method raises an error of the store's own when the store does not answer.
    """

    def append(self, tick: float, snapshot: Snapshot) -> None:
        """Store the counters of a snapshot that was taken for the boundary ``tick``.

        Durable when it returns. Within an epoch ticks only grow: a tick that is not after the
        newest of its epoch is ignored (stored already, or the clock was set back), and so is one
        of an epoch whose final totals are stored.

        Args:
            tick: Aligned boundary, in Unix seconds, not after ``snapshot.at``.
            snapshot: Its gauges are not stored.

        Raises:
            ValueError: The tick is later than the reading, or a time is not finite.
        """

    def append_final(self, snapshot: Snapshot) -> None:
        """Store the totals that an epoch ended with; ignored where its end is stored already."""

    def last_epoch(self) -> float | None:
        """Epoch of the newest life that has a row, in Unix seconds.

        A new life's epoch is the later of the clock and a moment after this.
        """

    def span(self) -> tuple[float, float] | None:
        """First and last tick that are stored, in Unix seconds; None where nothing is."""

    def at_or_before(self, at: float) -> Snapshot | None:
        """Latest snapshot that was read at or before ``at``, in Unix seconds."""

    def at_boundary(self, tick: float) -> Snapshot | None:
        """Latest snapshot whose tick is at or before ``tick``, in Unix seconds.

        For a whole minute the answer is the same before and after thinning, so that adjacent
        windows cut at whole minutes share their snapshot whenever they are computed.
        """

    def window_rows(self, start: float, end: Snapshot) -> Sequence[Snapshot]:
        """Return what a window that ends with ``end`` needs besides it, oldest first.

        The first is where the window starts: the latest row read at or before ``start``, or the
        first there is where history begins later. After it comes the last row of each epoch that
        ended since. The growth of a counter is the sum over neighbours, ``end`` included: the
        difference within an epoch, the later value across epochs.

        Args:
            start: When the window should start, in Unix seconds.
            end: The live snapshot, or a stored one.

        Returns:
            Empty where nothing is stored before ``end``. Gauges are empty.
        """

    def ticks(self, start: float, end: float) -> Iterator[Tick]:
        """Iterate over what is stored for ticks from ``start`` to ``end``, both included.

        Reads a page at a time: a long range needs little memory and blocks nobody.
        """

    def thin(
        self,
        now: float,
        *,
        ticks_kept_seconds: float = TICKS_KEPT_SECONDS,
        history_seconds: float = HISTORY_SECONDS,
    ) -> None:
        """Drop rows that no window needs any more, without changing any window between the rest.

        Of ticks older than ``ticks_kept_seconds`` the last of every minute stays: the boundary
        itself wherever it was stored, and always the last row of an epoch. Of what is older than
        ``history_seconds`` the newest row stays, so that the longest window is a whole one.

        Args:
            now: The present, in Unix seconds.
            ticks_kept_seconds: How long every tick is kept.
            history_seconds: How long minutes are kept.
        """
