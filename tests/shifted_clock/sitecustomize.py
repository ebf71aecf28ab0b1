"""In PYTHONPATH, shifts the clock that a process reads by TEST_CLOCK_SHIFT seconds."""

import os
import time

_SHIFT = float(os.environ["TEST_CLOCK_SHIFT"])
_real = time.time


def _shifted() -> float:
    return _real() + _SHIFT


time.time = _shifted
