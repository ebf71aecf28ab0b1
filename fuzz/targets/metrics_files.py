"""Metrics files and the fold of those of dead workers, damaged.

Law: whatever is in the folder, it is read: damaged files are left out and counted, every count that
is shown is finite and not negative, and the exposition is text that Prometheus' own parser reads.
"""

import json
import math
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fuzz.damage import Choices, damaged
from service.monitoring import catalogue
from service.telemetry.folder import MetricsFolder
from service.telemetry.histogram_series import HistogramSeries
from service.telemetry.registry import registry_of
from service.telemetry.series import WorkerFiles

_BEGAN, _NOW = 1_700_000_000.0, 1_700_000_100.0
_FOLD = "folded.json"
_FOLDED = 3
"""The third worker to join folds what two have left; the fourth only adds its files."""
_MODEL = {"model": "m", "version": "1"}
_INT, _VALUES, _HEADER_BYTES = struct.Struct("=i"), struct.Struct("=dd"), 8
_TRIED = [(at, odd) for at in (0, 1, 5, 33) for odd in range(0, 24, 3)]
_ODD = (-1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324, 2.5, -0.0)


def _intact() -> dict[str, bytes]:
    """Files of two dead workers and the fold of two others."""
    with tempfile.TemporaryDirectory() as home:
        folder = MetricsFolder.begin(Path(home), _BEGAN)
        for worker in range(4):
            files = folder.join() if worker < _FOLDED else WorkerFiles(folder.path)
            for outcome in ("success", "error"):
                files.series(catalogue.REQUESTS, {**_MODEL, "outcome": outcome}, value=2.0)
            HistogramSeries(files, catalogue.PREDICTION, _MODEL).observe(0.02, 0.3)
            files.series(catalogue.REQUEST_DURATION_MIN, _MODEL, value=0.001)
            files.series(catalogue.PREDICTION_LAST, _MODEL, value=0.3)
            files.close()
        contents = {path.name: _used(path) for path in folder.path.iterdir() if _holds_counts(path)}
    # A worker makes a file of each kind, also of those that it has nothing for.
    return {name: content for name, content in contents.items() if len(content) > _HEADER_BYTES}


def _holds_counts(path: Path) -> bool:
    return path.suffix in {".db", ".json"}


def _used(path: Path) -> bytes:
    content = path.read_bytes()
    return content if path.name == _FOLD else content[: _INT.unpack_from(content)[0]]


_FILES = _intact()
_NAMES = sorted(_FILES)
_HOME = tempfile.TemporaryDirectory()
_FOLDER = Path(_HOME.name) / str(round(_BEGAN * 1000))


def seeds() -> list[bytes]:
    """Each file as it is, and places to change."""
    numbers = range(len(_NAMES))
    return [
        *(bytes([0, number]) + _FILES[name] for number, name in enumerate(_NAMES)),
        *(bytes([1, number, 0, at, 255]) for number in numbers for at in (0, 8, 90)),
        *(bytes([2, 0, 0, at, 1, at, 1, at]) for at in range(8)),
        *(bytes([3, number, at, odd, at, 1, 1]) for number in numbers for at, odd in _TRIED),
    ]


def check(data: bytes) -> None:
    """Damage a file in one of four ways, then read all of them as a worker does that joins."""
    choices = Choices(data)
    how, name = choices.below(4), _NAMES[choices.below(len(_NAMES))]
    match how:
        case 0:
            content = choices.rest
        case 1:
            content = _with_changed_bytes(_FILES[name], choices)
        case 2:
            name, content = _FOLD, damaged(_FILES[_FOLD], choices)
        case _ if name == _FOLD:
            content = _with_odd_values(_FILES[_FOLD], choices)
        case _:
            content = _with_an_odd_entry(_FILES[name], choices)
    _FOLDER.mkdir(exist_ok=True)
    for other, intact in _FILES.items():
        (_FOLDER / other).write_bytes(content if other == name else intact)
    _read_all(parse=choices.below(16) == 1)
    if choices.below(8) == 1:
        MetricsFolder(_FOLDER).join().close()
        _read_all(parse=False)


def _read_all(*, parse: bool) -> None:
    registry = registry_of(MetricsFolder(_FOLDER))
    for series, value in registry.snapshot(_NOW).counters.items():
        assert math.isfinite(value), (series, value)
        assert value >= 0, (series, value)
    text, _ = registry.exposition("")
    if parse:  # which takes ten times as long as all the rest
        list(text_string_to_metric_families(text.decode()))


def _with_changed_bytes(content: bytes, choices: Choices) -> bytes:
    changed = bytearray(content)
    for _ in range(1 + choices.below(4)):
        changed[choices.below(len(changed))] = choices.below(256)
    return bytes(changed)


def _with_odd_values(content: bytes, choices: Choices) -> bytes:
    said = json.loads(content)
    readings = [series for _, series in sorted(said["readings"].items()) if series]
    series = readings[choices.below(len(readings))]
    series[sorted(series)[choices.below(len(series))]][0] = _ODD[choices.below(len(_ODD))]
    return json.dumps(said).encode()


def _with_an_odd_entry(content: bytes, choices: Choices) -> bytes:
    """Write the file again with one key or value changed; its form stays right."""
    entries = list(_entries(content))
    changed, what = choices.below(len(entries)), choices.below(2)
    key, value, at = entries[changed]
    if what:
        key = damaged(key, choices)
    else:
        value = _ODD[choices.below(len(_ODD))]
    entries[changed] = key, value, at
    written = b"".join(
        _INT.pack(len(key)) + key.ljust(_padded(len(key))) + _VALUES.pack(value, at)
        for key, value, at in entries
    )
    return _INT.pack(_HEADER_BYTES + len(written)) + bytes(4) + written


def _entries(content: bytes) -> Iterator[tuple[bytes, float, float]]:
    start = _HEADER_BYTES
    while start < len(content):
        (length,) = _INT.unpack_from(content, start)
        start += _INT.size
        values = start + _padded(length)
        yield content[start : start + length], *_VALUES.unpack_from(content, values)
        start = values + _VALUES.size


def _padded(key_bytes: int) -> int:
    return key_bytes + 8 - (key_bytes + 4) % 8
