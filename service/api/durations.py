"""Durations in queries: plain seconds, or with a unit."""

import re

from fastapi.exceptions import RequestValidationError

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
DURATION = {"pattern": f"^{_DURATION.pattern}$"}
"""What the OpenAPI document says of it; what is wrong with one is told better by ours."""
DURATION_OR_ALL = {"pattern": f"^(all|{_DURATION.pattern})$"}


def window_of(text: str, *, longest_seconds: float) -> float:
    """Read the query parameter ``window``, such as 90, 300s, 15m, 1h or 7d; in seconds.

    Raises:
        RequestValidationError: It is no duration, or longer than ``longest_seconds``.
    """
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= longest_seconds:
        message = f"give a duration such as 300s, 15m or 1h, up to {longest_seconds:g} seconds"
        raise RequestValidationError(
            [{"type": "duration", "loc": ("query", "window"), "msg": message, "input": text}]
        )
    return float(seconds)
