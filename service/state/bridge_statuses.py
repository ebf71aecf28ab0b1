"""Where the bridge says how it is doing, and everybody reads it."""

from service.monitoring.bridge_status import BridgeStatus
from service.state.keyed import KeyedValues

_KEY = "bridge_status"


class BridgeStatuses:
    """The status of the bridge of one scope.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, values: KeyedValues, scope: str) -> None:
        self._values = values
        self._scope = scope

    def save(self, status: BridgeStatus) -> None:
        """Replace what was said before."""
        self._values.save(self._scope, _KEY, status.to_json().encode())

    def load(self) -> BridgeStatus | None:
        """Give what was said last; None where no bridge ever spoke."""
        return self._values.read(self._scope, _KEY, BridgeStatus.from_json)
