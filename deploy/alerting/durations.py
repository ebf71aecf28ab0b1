"""Durations as Prometheus writes them."""

_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def duration(seconds: int) -> str:
    """Write whole seconds in the largest unit that fits, such as ``90s``, ``5m``, ``3d``."""
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def number(value: float) -> str:
    """Write a number so that reading it gives the same number."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
