"""The text of ``/metrics``: prometheus_client writes it once, from then on values are filled in."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.telemetry.layout import Page

_MOST_FORMATS = 8
"""Scrapers choose a few; a client that makes up more gets no memory for them."""
_NO_EXPONENT_BELOW = 1e6


class Exposition:
    """Writes pages in whichever format a scraper asks for."""

    def __init__(self) -> None:
        self._templates: dict[str, tuple[Page, str]] = {}

    def text(self, page: Page, values: NDArray[np.float64], accept: str) -> tuple[bytes, str]:
        """Write the samples of a page with ``values``, and name the content type.

        Args:
            page: What is exposed.
            values: Value of each sample.
            accept: The scraper's ``Accept`` header.
        """
        encode, content_type = choose_encoder(accept)
        known, template = self._templates.get(content_type, (None, ""))
        if known is not page:
            template = _template(page, encode)
            if len(self._templates) >= _MOST_FORMATS:
                self._templates = {}
            self._templates[content_type] = page, template
        return (template % tuple(_texts(values))).encode(), content_type


class _Zeros(Collector):
    """A page with every value 0."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def collect(self) -> Iterator[Metric]:
        return self._page.families(np.zeros(len(self._page.present)))


def _template(page: Page, encode: Callable[[Collector], bytes]) -> str:
    lines = encode(_Zeros(page)).decode().replace("%", "%%").split("\n")
    return "\n".join(
        line if line.startswith("#") else f"{line.removesuffix('0.0')}%s" if line else ""
        for line in lines
    )


def _texts(values: NDArray[np.float64]) -> Iterator[str]:
    """Write numbers as ``floatToGoString`` does, which for most is as Python does."""
    for value in values.tolist():
        plain = -_NO_EXPONENT_BELOW < value < _NO_EXPONENT_BELOW
        yield repr(value) if plain else floatToGoString(value)
