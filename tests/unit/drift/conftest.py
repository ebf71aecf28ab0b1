"""References that many tests of drift detection judge by."""

import pytest
from drift_traffic import (
    captured,
    traffic,
    without_wander,
)

from service.monitoring.drift.reference import Reference


@pytest.fixture(scope="module")
def known() -> Reference:
    return Reference.of(captured(traffic(5760, seed=1)), materiality=0.01)


@pytest.fixture(scope="module")
def still(known: Reference) -> Reference:
    return without_wander(known)


@pytest.fixture(scope="module")
def wandering() -> Reference:
    return Reference.of(captured(traffic(5760, seed=2, wander=0.01)), materiality=0.01)
