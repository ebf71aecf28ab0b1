"""How good predictions were: ranking, likelihood and calibration against what happened."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Measured on rows that hold both clicks and non-clicks."""

    rows: int
    auc: float
    """Probability that a click scores above a non-click; 0.5 is chance."""
    log_loss: float
    """Mean negative log likelihood, nats."""
    normalised_entropy: float
    """Log loss over that of always predicting these rows' own CTR; below 1 is better."""
    calibration_ratio: float
    """Mean prediction over CTR; above 1 is too many clicks foretold."""

    def metrics(self) -> Mapping[str, float]:
        """Name the four measures as the metadata of a model does."""
        return {
            "auc": self.auc,
            "log_loss": self.log_loss,
            "normalised_entropy": self.normalised_entropy,
            "calibration_ratio": self.calibration_ratio,
        }


def quality_of(predictions: NDArray[np.float64], clicks: NDArray[np.bool_]) -> Quality:
    """Judge predicted probabilities by outcomes, both of shape ``(n,)``.

    Raises:
        ValueError: The outcomes are all clicks or all non-clicks, so that nothing can be ranked.
    """
    ctr = float(clicks.mean())
    if not 0 < ctr < 1:
        raise ValueError(f"quality needs clicks and non-clicks, got a CTR of {ctr}")
    loss = float(log_loss(clicks, predictions))
    return Quality(
        rows=len(clicks),
        auc=float(roc_auc_score(clicks, predictions)),
        log_loss=loss,
        normalised_entropy=loss / float(log_loss(clicks, np.full(len(clicks), ctr))),
        calibration_ratio=float(predictions.mean()) / ctr,
    )


def quality_table(qualities: Mapping[str, Quality]) -> str:
    """Lay out one line for each name, for people to read."""
    heading = ("model", "rows", "AUC", "log loss", "norm. entropy", "calibration")
    lines = ["{:<12}{:>9}{:>9}{:>10}{:>15}{:>13}".format(*heading)]
    lines += [
        f"{name:<12}{q.rows:>9,}{q.auc:>9.4f}{q.log_loss:>10.5f}"
        f"{q.normalised_entropy:>15.4f}{q.calibration_ratio:>13.3f}"
        for name, q in qualities.items()
    ]
    return "\n".join(lines)
