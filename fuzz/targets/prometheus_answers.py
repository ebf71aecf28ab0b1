"""Answers of a Prometheus, or of whatever answers where one should be.

Law: an answer gives ``SourceUnavailableError`` or readings: by instance, ascending in time, within
the span that was asked for, every counter finite and not negative.
"""

import json
import math
from itertools import pairwise

import httpx

from fuzz.damage import Choices, damaged
from service.sources.errors import SourceUnavailableError
from service.sources.prometheus_api import PrometheusApi

_START, _END = 1_700_000_000.0, 1_700_000_060.0
_STATUSES = (200, 200, 200, 200, 400, 422, 503, 204)


def _series(name: str, *values: str, **labels: str) -> dict[str, object]:
    at = [[_START + 15 * (number + 1), value] for number, value in enumerate(values)]
    return {
        "metric": {"__name__": name, "instance": "a:8000", "job": "ctr", **labels},
        "values": at,
    }


_ANSWER = json.dumps(
    {
        "status": "success",
        "data": {
            "resultType": "matrix",
            "result": [
                _series("ctr_counters_began_timestamp_seconds", "1.6e9", "1.6e9"),
                _series("ctr_requests_total", "1", "2", model="m", version="1", outcome="success"),
                _series("ctr_prediction_sum", "0.5", "1.5", model="m", version="1"),
            ],
        },
    }
).encode()
_FAILED = b'{"status":"error","errorType":"execution","error":"too many samples"}'


def seeds() -> list[bytes]:
    """A good answer, refusals, and damage of the good one."""
    raw = (_ANSWER, _FAILED, b"", b"null", b"[]", b"<html>", b"[" * 2000, b"\xff")
    return [
        *(bytes([0, status]) + body for body in raw for status in (0, 4)),
        *(bytes([1, 0, 0, 1, at, 7, at, 7, at]) for at in range(16)),
    ]


def check(data: bytes) -> None:
    """Read an answer that is the bytes themselves or a damaged good one."""
    choices = Choices(data)
    as_it_is, status = choices.below(2) == 0, _STATUSES[choices.below(len(_STATUSES))]
    body = choices.rest if as_it_is else damaged(_ANSWER, choices)
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    with PrometheusApi("http://prometheus", "{job='ctr'}", transport=transport) as api:
        try:
            found = api.readings(_START, _END)
        except SourceUnavailableError:
            return
    for instance, readings in found.items():
        assert isinstance(instance, str)
        assert all(_START < reading.at <= _END for reading in readings)
        assert all(before.at < after.at for before, after in pairwise(readings))
        for reading in readings:
            assert math.isfinite(reading.epoch)
            for series, value in reading.counters.items():
                assert all(isinstance(text, str) for pair in series.labels for text in pair)
                assert math.isfinite(value)
                assert value >= 0
