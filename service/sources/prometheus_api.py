"""Readings of all instances from the Prometheus HTTP API, or whatever speaks it.

Raw samples, never ``rate`` or ``increase``: the arithmetic stays our own, and exact.
"""

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from service.monitoring import catalogue
from service.monitoring.fleet import Reading
from service.monitoring.snapshot import Series
from service.sources.errors import SourceUnavailableError

_TIMEOUT_SECONDS = 5.0
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What an answer makes its reader raise that has not the form of Prometheus' API."""
_LONGEST_REASON = 120
_TARGET_LABELS = {"__name__", "instance", "job"}
_GAUGES = frozenset(metric.name for metric in catalogue.CATALOGUE if metric.kind == "gauge")


class PrometheusApi:
    """One Prometheus, Thanos, Mimir or VictoriaMetrics; may be used from several threads."""

    def __init__(
        self, url: str, selector: str, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Prepare.

        Args:
            url: Base address; a user and password in it are sent, and never shown.
            selector: Which targets, such as ``{job="ctr"}``.
            transport: How to get there; by default over the network.
        """
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, transport=transport)
        inner = selector.strip().removeprefix("{").removesuffix("}").strip(" ,")
        names = '__name__=~"ctr_.+"'
        self._selector = "{" + (f"{names},{inner}" if inner else names) + "}"

    def readings(self, start: float, end: float) -> Mapping[str, Sequence[Reading]]:
        """Give every scrape of every instance in a span, by instance, in order of time.

        Args:
            start: Excluded, in Unix seconds.
            end: Included, in Unix seconds.

        Raises:
            SourceUnavailableError: There is no complete answer.
        """
        milliseconds = max(math.ceil((end - start) * 1000), 1)
        try:
            answer = self._query(f"{self._selector}[{milliseconds}ms]", end)
            return _readings(answer["data"]["result"], start, end)
        except _MALFORMED as error:
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            raise SourceUnavailableError(
                f"what answers is no Prometheus, or its answer is damaged: {reason}"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _query(self, expression: str, at: float) -> dict[str, Any]:
        try:
            # POST: a long selector does not fit into an address.
            answer = self._client.post("/api/v1/query", data={"query": expression, "time": str(at)})
            body: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise SourceUnavailableError(
                f"Prometheus does not answer: {str(error) or type(error).__name__}"
            ) from error
        if answer.status_code != httpx.codes.OK or body.get("status") != "success":
            raise SourceUnavailableError(
                f"Prometheus answers {answer.status_code}: {body.get('error', 'no reason given')}"
            )
        if body.get("warnings"):
            # A part of the fleet would be missing, and look like falling counters.
            raise SourceUnavailableError(f"Prometheus knows only a part: {body['warnings']}")
        return body


_BEGAN = Series(catalogue.COUNTERS_BEGAN.name, ())


def _readings(
    result: Sequence[Mapping[str, Any]], start: float, end: float
) -> Mapping[str, Sequence[Reading]]:
    scrapes: dict[str, dict[float, tuple[dict[Series, float], dict[Series, float]]]] = {}
    for found in result:
        labels: dict[str, str] = found["metric"]
        if not all(isinstance(text, str) for text in labels.values()):
            raise TypeError("a label is no text")
        name = labels["__name__"]
        series = Series(
            name, tuple(sorted((k, v) for k, v in labels.items() if k not in _TARGET_LABELS))
        )
        instance = scrapes.setdefault(labels.get("instance", ""), {})
        for at, text in found["values"]:
            if not start < at <= end:
                continue
            value = float(text)
            counters, gauges = instance.setdefault(float(at), ({}, {}))
            if name not in _GAUGES:
                if not 0 <= value < math.inf:
                    raise ValueError(f"{name} counts {text}")
                counters[series] = value
            elif math.isfinite(value):
                gauges[series] = value
    return {
        instance: [
            Reading(at, gauges[_BEGAN], counters, gauges)
            for at, (counters, gauges) in sorted(its.items())
            if _BEGAN in gauges
        ]
        for instance, its in scrapes.items()
    }
