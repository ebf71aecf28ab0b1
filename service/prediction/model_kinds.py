"""The two kinds of model: gradient-boosted trees, and a logistic regression that numpy serves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from service.prediction.forest import Forest
from service.prediction.forest_check import verified_forest
from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.model import Evaluator, Model
from service.prediction.tree_nodes import UnusableForestError

LOGISTIC_FORMAT = 1

FOREST_ROWS = 64
"""In more rows XGBoost's cost per call is less than what it saves on each."""


class XGBoostModel:
    """A binary:logistic booster on the CPU.

    Up to ``FOREST_ROWS`` rows are scored by the booster's :class:`Forest`, to the same bits.

    Args:
        booster: Trained with feature names.
        nthread: Threads of one prediction. One by default: a service's workers already occupy
            the cores, and small batches lose more to starting threads than they win.
        forest_of: Makes the forest, seen to score as the booster does; where it raises
            :class:`UnusableForestError`, the booster scores alone, and ``evaluator`` says why.
    """

    kind: ClassVar[str] = "xgboost"
    file_name: ClassVar[str] = "model.ubj"

    def __init__(
        self,
        booster: xgb.Booster,
        *,
        nthread: int = 1,
        forest_of: Callable[[xgb.Booster], Forest] = verified_forest,
    ) -> None:
        booster.set_param({"nthread": nthread, "device": "cpu"})
        self._booster = booster
        self._forest: Forest | None = None
        try:
            self._forest = forest_of(booster)
            self._evaluator = Evaluator("forest")
        except UnusableForestError as error:
            self._evaluator = Evaluator("xgboost", fallback_reason=str(error))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns, in order."""
        return tuple(self._booster.feature_names or ())

    @property
    def evaluator(self) -> Evaluator:
        """What scores a few rows: ``forest``, or ``xgboost`` with the reason."""
        return self._evaluator

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return click probabilities, shape ``(n,)``; bit-equal to ``Booster.predict``."""
        if self._forest is not None and len(features) <= FOREST_ROWS:
            return self._forest.predict(features)
        if not len(features):
            return np.empty(0)
        scores = self._booster.inplace_predict(features, validate_features=False)
        return np.asarray(scores, dtype=np.float64)

    def to_bytes(self) -> bytes:
        """Serialise as UBJSON."""
        return bytes(self._booster.save_raw("ubj"))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read a booster.

        Raises:
            ValueError: XGBoost cannot read it.
        """
        booster = xgb.Booster()
        try:
            booster.load_model(bytearray(content))
        except xgb.core.XGBoostError as error:
            raise ValueError(f"not an XGBoost model: {str(error).splitlines()[0]}") from error
        return cls(booster)


@dataclass(frozen=True, slots=True, eq=False)
class LogisticModel:
    """Logistic regression on standardised features."""

    kind: ClassVar[str] = "logistic"
    file_name: ClassVar[str] = "model.json"
    evaluator: ClassVar[Evaluator] = Evaluator("numpy")

    feature_names: tuple[str, ...]
    means: NDArray[np.float64]
    """Subtracted from the features, shape ``(d,)``."""
    scales: NDArray[np.float64]
    """What the centred features are divided by, positive, shape ``(d,)``."""
    weights: NDArray[np.float64]
    """Log-odds per standardised unit, shape ``(d,)``."""
    intercept: float
    """Log-odds of a row of average features."""

    def __post_init__(self) -> None:
        arrays = (self.means, self.scales, self.weights)
        if any(array.shape != (len(self.feature_names),) for array in arrays):
            raise ValueError("means, scales and weights need one number for each feature")
        if not np.isfinite([*np.concatenate(arrays), self.intercept]).all():
            raise ValueError("means, scales, weights and intercept must be finite")
        if not (self.scales > 0).all():
            raise ValueError("scales must be positive")

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return click probabilities, shape ``(n,)``, for features of shape ``(n, d)``."""
        standardised = (features - self.means) / self.scales
        # Not a matrix product: its order of summation, and so the last bit of a score, changes
        # with the number of rows, and a row must score the same alone and in a batch.
        log_odds = self.intercept + (standardised * self.weights).sum(axis=1)
        probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-log_odds))
        return probabilities

    def to_bytes(self) -> bytes:
        """Serialise as JSON; floats round-trip exactly."""
        content = {
            "format": LOGISTIC_FORMAT,
            "feature_names": self.feature_names,
            "means": self.means.tolist(),
            "scales": self.scales.tolist(),
            "weights": self.weights.tolist(),
            "intercept": self.intercept,
        }
        return json.dumps(content, indent=1, allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: The content is not such a model; the message names the field.
        """
        try:
            fields = json.loads(content)
            if fields["format"] != LOGISTIC_FORMAT:
                raise ValueError(f"logistic format {fields['format']} is not {LOGISTIC_FORMAT}")
            return cls(
                feature_names=tuple(fields["feature_names"]),
                means=np.array(fields["means"], dtype=np.float64),
                scales=np.array(fields["scales"], dtype=np.float64),
                weights=np.array(fields["weights"], dtype=np.float64),
                intercept=float(fields["intercept"]),
            )
        except KeyError as error:
            raise ValueError(f"logistic model lacks the field {error}") from error
        except TypeError as error:
            raise ValueError(f"logistic model is malformed: {error}") from error


MODEL_KINDS: Mapping[str, type[Model]] = {
    model.kind: model for model in (XGBoostModel, LogisticModel)
}
