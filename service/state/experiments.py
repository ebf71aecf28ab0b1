"""The counts of the experiment, kept across restarts."""

from service.monitoring.experiment.state import ExperimentState
from service.state.keyed import KeyedValues

_KEY = "experiment"


class StoredExperiment:
    """Of one scope: replaced as a whole, so that counts and how far they reach never differ.

    Raises:
        StateUnavailableError: In every method, when the database does not answer.
    """

    def __init__(self, values: KeyedValues, scope: str) -> None:
        self._values = values
        self._scope = scope

    def load(self) -> ExperimentState | None:
        """Give what was saved last; None where there is nothing, or what nobody here can read."""
        return self._values.read(self._scope, _KEY, ExperimentState.from_json)

    def save(self, state: ExperimentState) -> None:
        """Replace it; durable when it returns."""
        self._values.save(self._scope, _KEY, state.to_json().encode())
