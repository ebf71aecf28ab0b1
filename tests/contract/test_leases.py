"""Only one holder at a time works, over SQLite and over PostgreSQL alike."""

import json
import math
from contextlib import closing

from state_processes import release_together, start

from service.state.database import Database
from service.state.leases import Leases
from service.state.store import State, open_state


def test_a_lease_has_one_holder_until_it_expires(state: State) -> None:
    leases = state.leases

    assert leases.acquire_or_renew("ticker", "a", now=100, ttl=10)
    assert not leases.acquire_or_renew("ticker", "b", now=109, ttl=10)
    assert leases.acquire_or_renew("ticker", "a", now=109, ttl=10)
    assert not leases.acquire_or_renew("ticker", "b", now=118.9, ttl=10)
    assert leases.holder_of("ticker", now=118.9) == "a"
    assert leases.holder_of("ticker", now=119) is None
    assert leases.acquire_or_renew("ticker", "b", now=119, ttl=10)
    assert not leases.acquire_or_renew("ticker", "a", now=120, ttl=10)
    assert leases.acquire_or_renew("bridge", "a", now=120, ttl=10)


def test_only_the_holder_releases_a_lease(state: State) -> None:
    state.leases.acquire_or_renew("ticker", "a", now=100, ttl=10)

    state.leases.release("ticker", "b")
    assert state.leases.holder_of("ticker", now=101) == "a"
    state.leases.release("ticker", "a")

    assert state.leases.acquire_or_renew("ticker", "b", now=101, ttl=10)


def test_a_lease_from_before_the_clock_was_set_back_does_not_block_for_ever(url: str) -> None:
    elapsed = 0.0
    with closing(Database.open(url, 5.0)) as database:
        leases = Leases(database, monotonic=lambda: elapsed)
        leases.acquire_or_renew("ticker", "dead", now=10_000, ttl=10)

        assert not leases.acquire_or_renew("ticker", "b", now=5_000, ttl=10)
        elapsed = 9.9
        assert not leases.acquire_or_renew("ticker", "b", now=5_010, ttl=10)
        elapsed = 10.0
        assert leases.acquire_or_renew("ticker", "b", now=5_010, ttl=10)


def test_a_process_that_was_paused_with_an_old_time_takes_no_lease(url: str) -> None:
    elapsed = 0.0
    with closing(Database.open(url, 5.0)) as database:
        leases = Leases(database, monotonic=lambda: elapsed)
        leases.acquire_or_renew("ticker", "a", now=100, ttl=10)
        assert not leases.acquire_or_renew("ticker", "paused", now=105, ttl=10)
        Leases(database).acquire_or_renew("ticker", "a", now=205, ttl=10)
        elapsed = 100.0

        assert not leases.acquire_or_renew("ticker", "paused", now=106, ttl=10)


COMPETE = """
import json, random, sys, time
from service.state.store import open_state

url, holder = sys.argv[1:]
held = []
with open_state(url) as state:
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.time() + 2.0
    while (now := time.time()) < end:
        if state.leases.acquire_or_renew("ticker", holder, now, 0.03):
            began = time.time()
            if random.random() < 0.5:
                released = time.time()
                # What is given up includes the rest of an earlier grant.
                held = [[b, min(e, released), holder] for b, e, _ in held]
                held.append([began, released, holder])
                state.leases.release("ticker", holder)
            else:
                held.append([began, now + 0.03, holder])
                time.sleep(0.06 * random.random())
print(json.dumps(held))
"""


def test_two_processes_never_hold_a_lease_at_the_same_time(url: str) -> None:
    open_state(url).close()
    processes = [start(COMPETE, url, name) for name in "ab"]
    outputs = release_together(processes)

    held = sorted(interval for output in outputs for interval in json.loads(output))

    assert {holder for *_, holder in held} == {"a", "b"}
    last_end = {"a": -math.inf, "b": -math.inf}
    for began, ended, holder in held:
        other = "b" if holder == "a" else "a"
        assert began >= last_end[other]
        last_end[holder] = max(last_end[holder], ended)
