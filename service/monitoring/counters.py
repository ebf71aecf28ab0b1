"""The values of many series at once: which series they are is worked out once, not at each look."""

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from service.monitoring.snapshot import Series

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

_T = TypeVar("_T")


class Layout:
    """Series in one order, each once.

    Readings of the same series share one layout. What follows from the series alone is worked out
    at the first look and kept as long as the layout is.
    """

    def __init__(self, series: Iterable[Series]) -> None:
        self.series = tuple(series)
        self._place = {series: place for place, series in enumerate(self.series)}
        self._derived: dict[object, object] = {}
        self._places: WeakKeyDictionary[Layout, Places] = WeakKeyDictionary()
        self._joined: WeakKeyDictionary[Layout, Layout] = WeakKeyDictionary()

    def __len__(self) -> int:
        """Count the series."""
        return len(self.series)

    def place(self, series: Series) -> int:
        """Find one series.

        Raises:
            KeyError: It is none of these.
        """
        return self._place[series]

    def once(self, derive: Callable[..., _T], *given: object) -> _T:
        """Give ``derive(series, *given)``, worked out once.

        Args:
            derive: A function of a module, so that there are only so many.
            given: Hashable; found in the series, so that there are only so many.
        """
        key = (derive, *given)
        if key not in self._derived:
            self._derived[key] = derive(self.series, *given)
        return cast("_T", self._derived[key])

    def places_of(self, other: "Layout") -> Places:
        """Say where each series of another layout is in this one; ``len(self)`` if nowhere."""
        places = self._places.get(other)
        if places is None:
            nowhere = len(self)
            places = np.array([self._place.get(s, nowhere) for s in other.series], dtype=np.intp)
            self._places[other] = places
        return places

    def joined(self, other: "Layout") -> "Layout":
        """Give the layout of these series, followed by those of another that are not among them."""
        if not self.series:
            return other
        joined = self._joined.get(other)
        if joined is None:
            new = [series for series in other.series if series not in self._place]
            joined = Layout((*self.series, *new)) if new else self
            self._joined[other] = joined
        return joined


class Counters(Mapping[Series, float]):
    """A value for each series of a layout."""

    __slots__ = ("array", "layout")

    def __init__(self, layout: Layout, array: Floats) -> None:
        """Combine them.

        Args:
            layout: Which series.
            array: Their values in the layout's order, shape ``(len(layout),)``; nobody changes it.
        """
        self.layout = layout
        self.array = array

    @staticmethod
    def of(values: Mapping[Series, float]) -> "Counters":
        """Take over a mapping; one that is of this kind already stays as it is."""
        if isinstance(values, Counters):
            return values
        if not values:
            return _NOTHING
        return Counters(Layout(values), np.fromiter(values.values(), np.float64, len(values)))

    def __getitem__(self, series: Series) -> float:
        """Give one value."""
        return float(self.array[self.layout.place(series)])

    def __iter__(self) -> Iterator[Series]:
        """Go through the series in the layout's order."""
        return iter(self.layout.series)

    def __len__(self) -> int:
        """Count the series."""
        return len(self.layout)

    def items(self) -> ItemsView[Series, float]:
        """Go through series and values in the layout's order."""
        return _Items(self)

    def in_order_of(self, layout: Layout) -> Floats:
        """Give the values of another layout's series, 0 for those that are missing here."""
        if layout is self.layout:
            return self.array
        return np.append(self.array, 0.0)[self.layout.places_of(layout)]

    def part(self, layout: Layout, places: Places) -> "Counters":
        """Give some of them: those at ``places``, which are the series of ``layout``."""
        return Counters(layout, self.array[places])


class _Items(ItemsView[Series, float]):
    """Looks nothing up."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(counters)
        self._counters = counters

    def __iter__(self) -> Iterator[tuple[Series, float]]:
        return zip(self._counters.layout.series, self._counters.array.tolist(), strict=True)


NO_SERIES = Layout(())
_NOTHING = Counters(NO_SERIES, np.zeros(0))


def added_up(values: Floats, groups: Places, count: int) -> Floats:
    """Add up values by group, in their order, shape ``(count,)``.

    Args:
        values: Shape ``(n,)``.
        groups: Which group each is of, shape ``(n,)``.
        count: How many groups there are.
    """
    # Of nothing at all it makes whole numbers.
    return np.bincount(groups, weights=values, minlength=count).astype(np.float64, copy=False)
