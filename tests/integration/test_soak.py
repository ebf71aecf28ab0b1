"""Used for two minutes, a service holds no more memory, files or state, and answers as fast.

The long form, in which what grows slowly shows: ``python -m benchmarks.soak --minutes 30``.
"""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import broken_laws, growth, soak, with_bridge

SECONDS = 120.0


def test_a_service_that_is_used_all_the_while_stays_as_it_is(models_dir: Path) -> None:
    assert broken_laws(soak(with_bridge(models_dir), SECONDS), SECONDS) == []


@pytest.mark.parametrize("leaked_bytes", [0, 600, 1500])
def test_what_leaks_with_each_request_is_told_from_what_only_varies(leaked_bytes: int) -> None:
    rng = np.random.default_rng(leaked_bytes)
    at = np.arange(30, SECONDS, 2.0)
    memory_mb = 120 + at * 150 * leaked_bytes / 1e6 + rng.normal(0, 0.5, len(at))

    assert growth("memory_mb", at, memory_mb, 6.0).is_too_much == (leaked_bytes > 0)
