"""How the writing of the history goes, as the bridge last said."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from service.monitoring.objectives import BRIDGE_LATE, BRIDGE_SILENT

SILENT_AFTER_SECONDS = BRIDGE_SILENT.limit
LATE_AFTER_SECONDS = BRIDGE_LATE.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatus:
    """What the bridge that holds the lease knows."""

    at: float
    """When it said so, in Unix seconds."""
    store: str
    """Where the history goes; without a password."""
    experiment_id: str | None = None
    """In MLflow; None until it was reached once."""
    last_success: float | None = None
    """When MLflow last took something or was found in order, in Unix seconds."""
    problem: str = ""
    """Why nothing can be sent now."""
    lag_seconds: float = 0.0
    """Age of the oldest window that is over and not in MLflow."""
    waiting_points: int = 0
    refused_entries: int = 0
    """Set aside because MLflow refuses a part of them for good."""
    dropped_sample_points: int = 0
    """Individual predictions given up because too much waited; aggregates never are."""
    completeness: float | None = None
    """Share of the windows of the last closed day that were written; the least of any model."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Calls that failed, by reason, since the bridge started."""

    @property
    def tracking_store(self) -> str:
        """What tells this store and experiment from any other."""
        return f"{self.store}#{self.experiment_id}"

    def alert(self, now: float) -> str:
        """Say what is wrong at ``now``, in Unix seconds; empty where nothing is."""
        if now - self.at > SILENT_AFTER_SECONDS:
            return "the bridge to MLflow is not running; the history waits in the state store"
        if self.lag_seconds > LATE_AFTER_SECONDS:
            why = self.problem or "it is catching up"
            return f"the history in MLflow is {self.lag_seconds / 60:.0f} minutes late: {why}"
        return ""

    def to_json(self) -> str:
        """Serialise without loss."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a status.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not a status of the bridge: {error!r}") from error
