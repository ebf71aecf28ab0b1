"""Three weeks of the real code in seconds: nothing grows, and every day adds up.

A leap day, the end of a month and a change of the local clock are among them. The long form, three
months: ``python -m benchmarks.months``.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.months import broken_laws, live

DAYS = 19


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local time that jumps on March 12th, 2028."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_three_weeks_leave_nothing_behind_and_every_day_adds_up(
    tmp_path: Path, models_dir: Path
) -> None:
    life = live(tmp_path, models_dir, days=DAYS, tick_seconds=3600)

    assert broken_laws(life) == []
