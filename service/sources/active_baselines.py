"""The baseline in force of each model: the one that was set last, else the one from training."""

from collections.abc import Callable, Mapping, Sequence

from service.monitoring.baseline import Baseline
from service.state.baselines import BaselineRevision, Baselines

TRAINED_REVISION = 0


class ActiveBaselines:
    """Baselines of the model versions that are served.

    A baseline that was set counts for the version it was set for: a new version begins with its
    own, from training.
    """

    def __init__(self, trained: Callable[[], Mapping[str, Baseline]], stored: Baselines) -> None:
        """Prepare.

        Args:
            trained: Gives the baseline that came with each model that is served now, by name.
            stored: Those that were set.
        """
        self._trained = trained
        self._stored = stored

    @property
    def models(self) -> Mapping[str, str]:
        """Version by model."""
        return {name: baseline.model_version for name, baseline in self._trained().items()}

    def of(self, model: str) -> BaselineRevision:
        """Give the baseline in force.

        Raises:
            KeyError: The model is not served.
            StateUnavailableError: The state store does not answer.
        """
        return self._in_force(self._trained()[model])

    def all(self) -> Sequence[BaselineRevision]:
        """Give the baseline in force of every model, all of one release."""
        return [self._in_force(trained) for trained in self._trained().values()]

    def save(self, baseline: Baseline) -> BaselineRevision:
        """Put a baseline in force; durable, and visible to every worker, when this returns."""
        return BaselineRevision(self._stored.save(baseline), baseline)

    def _in_force(self, trained: Baseline) -> BaselineRevision:
        stored = self._stored.active(trained.model_name, trained.model_version)
        return stored or BaselineRevision(TRAINED_REVISION, trained)
