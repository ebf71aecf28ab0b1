"""Snapshots as the state store keeps them.

Law: whatever was stored in the place of a snapshot, ``ValueError`` is raised or as many numbers
come out as there are series; what was stored by us comes out as it went in.
"""

import numpy as np

from fuzz.damage import Choices
from service.monitoring.counters import Counters, Layout
from service.monitoring.snapshot import Series
from service.state.encoding import decode_counters, decode_series, encode_values, stored_layout

_SERIES = tuple(Series("ctr_requests_total", (("model", str(number)),)) for number in range(5))
_LAYOUT = Layout(_SERIES)
_STORED = stored_layout(_SERIES)


def seeds() -> list[bytes]:
    """What we would have stored."""
    values = encode_values(Counters(_LAYOUT, np.arange(5.0)), _STORED)
    return [b"\x00" + values, b"\x01" + _STORED.content, b"\x02" + np.arange(5.0).tobytes()]


def check(data: bytes) -> None:
    """Decode values or series, or values that were encoded."""
    choices = Choices(data)
    match choices.below(3):
        case 0:
            try:
                assert len(decode_counters(_LAYOUT, choices.rest)) == len(_SERIES)
            except ValueError:
                return
        case 1:
            try:
                Layout(decode_series(choices.rest))
            except ValueError:
                return
        case _:
            values = np.frombuffer(choices.rest.ljust(40, b"\x00")[:40])
            content = encode_values(Counters(_LAYOUT, values), _STORED)
            assert decode_counters(_LAYOUT, content).array.tobytes() == values.tobytes()
