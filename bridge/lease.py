"""One bridge works, the others stand by."""

import time
from collections.abc import Callable

from service.state.leases import Leases

LEASE_SECONDS = 10.0
RENEWED_EVERY_SECONDS = 3.0


def lease_name(scope: str) -> str:
    """What the lease of a scope, such as ``instance:host1``, is called."""
    return f"bridge:{scope}"


class BridgeLease:
    """The lease of one scope, as one bridge holds it or does not."""

    def __init__(
        self,
        leases: Leases,
        *,
        scope: str,
        holder: str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._name = lease_name(scope)
        self._holder = holder
        self._clock = clock
        self._monotonic = monotonic
        self._sure_until = 0.0

    def renew(self) -> bool:
        """Acquire or renew the lease; returns whether it is held."""
        asked = self._monotonic()
        held = self._leases.acquire_or_renew(self._name, self._holder, self._clock(), LEASE_SECONDS)
        self._sure_until = asked + LEASE_SECONDS if held else 0.0
        return held

    def is_held(self) -> bool:
        """Whether it is surely still held; a bridge that was paused for long no longer knows."""
        return self._monotonic() < self._sure_until

    def release(self) -> None:
        """Let another bridge take over at once."""
        self._sure_until = 0.0
        self._leases.release(self._name, self._holder)
