"""What a model is to the rest: a function of features, bundled with all that it is served with."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline
from service.prediction.features import FeatureEncoder

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


class Evaluator(NamedTuple):
    """What computes the scores of a few rows."""

    name: str
    fallback_reason: str | None = None
    """Why it is a slower one than the kind of model has; None where it is not."""


class Model(Protocol):
    """Turns rows of features into click probabilities."""

    kind: ClassVar[str]
    """Names the implementation in the metadata; also decides how the file is read."""
    file_name: ClassVar[str]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns that the model was trained on, in order."""

    @property
    def evaluator(self) -> Evaluator:
        """What computes the scores of a few rows; decided when the model is loaded."""

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return click probabilities, shape ``(n,)``, for features of shape ``(n, d)``."""

    def to_bytes(self) -> bytes:
        """Serialise without loss."""

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: The content is not such a model.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """Where a model came from and how good it was."""

    created_at: datetime
    data_description: str
    train_rows: int
    validation_rows: int
    validation_metrics: Mapping[str, float]
    """AUC, log loss in nats, normalised entropy and calibration ratio, by name."""
    library_versions: Mapping[str, str]
    parameters: Mapping[str, str | float] = field(default_factory=dict)
    """What the training was told, by name; empty for models of before it was noted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelBundle:
    """What is loaded, served and replaced as one.

    Raises:
        ValueError: The parts do not belong together; the message says which.
    """

    name: str
    version: str
    """Sorts by time: UTC second, then six digits of the content's hash."""
    model: Model
    encoder: FeatureEncoder
    baseline: Baseline
    metadata: ModelMetadata

    def __post_init__(self) -> None:
        if not MODEL_NAME.fullmatch(self.name):
            raise ValueError(f"the name {self.name!r} is not 1 to 64 of a-z, 0-9, _ and -")
        if not VERSION.fullmatch(self.version):
            raise ValueError(f"the version {self.version!r} is not like 20261123T014500Z-3fa29c")
        if self.model.feature_names != self.encoder.names:
            raise ValueError("the model was trained on other features than the encoder makes")
        described = (self.baseline.model_name, self.baseline.model_version)
        if described != (self.name, self.version):
            raise ValueError(f"the baseline describes {' '.join(described)}, another model")


def version_of(model: Model, encoder: FeatureEncoder, *, created_at: datetime) -> str:
    """Name the version made at ``created_at``, an aware time; later versions sort later."""
    digest = hashlib.sha256(model.to_bytes() + encoder.to_json().encode()).hexdigest()
    return f"{created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest[:6]}"
