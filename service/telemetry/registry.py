"""What `/metrics` exposes and everything else is computed from: the sum over all workers."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Metric
from prometheus_client.registry import Collector

from service.monitoring.snapshot import Snapshot
from service.telemetry.exposition import Exposition
from service.telemetry.folder import MetricsFolder
from service.telemetry.layout import Index, Layout, Page


def registry_of(folder: MetricsFolder, *, shown_only: bool = False) -> "FolderRegistry":
    """Build a registry that reads the folder anew each time.

    Args:
        folder: The files of all workers.
        shown_only: Leave out versions that are shown no longer; the history needs them.
    """
    return FolderRegistry(folder, shown_only=shown_only)


class FolderRegistry(Collector):
    """A metrics folder as prometheus_client's families, as a snapshot and as text.

    May be asked by several threads at once.
    """

    def __init__(self, folder: MetricsFolder, *, shown_only: bool) -> None:
        self._folder = folder
        self._shown_only = shown_only
        # Replaced as a whole: another thread sees the one before or this one.
        self._last: Page | None = None
        self._exposition = Exposition()

    def collect(self) -> Iterator[Metric]:
        """Read every family."""
        page, values = self._read()
        return page.families(values)

    def snapshot(self, at: float) -> Snapshot:
        """Read every sample, at ``at`` in Unix seconds."""
        page, values = self._read()
        return page.snapshot(values, at, self._folder.began)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Read every sample as text in the format that ``accept`` asks for, and name its type."""
        page, values = self._read()
        return self._exposition.text(page, values, accept)

    def _read(self) -> tuple[Page, NDArray[np.float64]]:
        totals = self._folder.read()
        of_parts = (part.values for part in totals.parts)
        values = np.concatenate([*of_parts, [self._folder.began, totals.unreadable_files]])
        last = self._last
        layout = self._layout(last.layout if last else None, totals.keys, values)
        exposed = layout.exposed(values)
        present = ~np.isnan(exposed)
        if last is None or last.layout is not layout or last.present != present.tobytes():
            last = self._last = Page.of(layout, present, before=last)
        return last, exposed[present]

    def _layout(
        self,
        last: Layout | None,
        keys: tuple[tuple[str, ...], ...],
        values: NDArray[np.float64],
    ) -> Layout:
        index = last.index if last and last.index.keys == keys else Index.of(keys)
        served = index.served(values)
        if last and last.index is index and last.served == served:
            return last
        return Layout.of(index, served, shown_only=self._shown_only)
