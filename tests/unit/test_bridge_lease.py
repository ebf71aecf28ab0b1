"""A bridge works only while it surely holds the lease."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.lease import LEASE_SECONDS, RENEWED_EVERY_SECONDS, BridgeLease
from service.state.leases import Leases
from service.state.store import State, open_state


@dataclass
class Clock:
    """The same seconds for the wall clock and the monotonic one."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(tmp_path / "state.db") as opened:
        yield opened


def lease(leases: Leases, holder: str, clock: Clock) -> BridgeLease:
    return BridgeLease(leases, scope="a", holder=holder, clock=clock, monotonic=clock)


def test_one_holds_it_and_the_other_takes_over_when_it_runs_out(state: State) -> None:
    clock = Clock()
    first, second = lease(state.leases, "first", clock), lease(state.leases, "second", clock)

    assert (first.renew(), second.renew()) == (True, False)
    assert (first.is_held(), second.is_held()) == (True, False)

    clock.now += LEASE_SECONDS
    # The first was paused and has not asked again, but knows that it may have lost it.
    assert not first.is_held()
    assert (second.renew(), first.renew()) == (True, False)
    assert (first.is_held(), second.is_held()) == (False, True)


def test_renewed_in_time_it_is_kept(state: State) -> None:
    clock = Clock()
    first, second = lease(state.leases, "first", clock), lease(state.leases, "second", clock)
    for _ in range(10):
        assert first.renew()
        clock.now += RENEWED_EVERY_SECONDS
        assert not second.renew()
        assert first.is_held()


def test_given_back_it_is_free_at_once(state: State) -> None:
    clock = Clock()
    first, second = lease(state.leases, "first", clock), lease(state.leases, "second", clock)
    first.renew()

    first.release()

    assert not first.is_held()
    assert second.renew()


def test_the_bridge_asks_often_enough_to_miss_two_turns() -> None:
    assert 3 * RENEWED_EVERY_SECONDS < LEASE_SECONDS
