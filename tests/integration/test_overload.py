"""Offered three times its capacity, a service goes on at capacity and tells everybody the truth.

The long form, whose limits are those of an idle machine: ``python -m benchmarks.overload``.
"""

from pathlib import Path

from benchmarks.overload import Limits, broken_laws, measure

BUSY = Limits(kept=None, kept_by_cpu=0.6, p99=2.0, recovered=5.0, operations_seconds=4.0)
"""On a machine that runs other tests meanwhile: they take processors from one load and not from the
next, so that only what an answer costs can be compared. Nothing is more lenient about counts."""


def test_an_overloaded_service_answers_as_many_as_before_refuses_the_rest_and_counts_right(
    models_dir: Path,
) -> None:
    assert broken_laws(measure(models_dir, 3, seconds=2.0), BUSY) == []
