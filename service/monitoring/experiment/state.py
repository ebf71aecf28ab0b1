"""What is remembered of an experiment: counts since it began, and how far they reach."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.arms import Arm, ArmCounts, Served

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An experiment as it is configured."""

    name: str
    key: str
    """Changes with the name, the salt and the shares; a label of the metrics."""
    fingerprint: int
    """The same in 32 bits, by which its clicks are kept."""
    weights: Mapping[str, float]
    """Positive, by model; the baseline first."""
    versions: Mapping[str, str]
    """Version of each of them that is served."""

    @property
    def compares(self) -> bool:
        """Whether at least two variants get users."""
        return len(self.weights) > 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentState:
    """Counts of all arms over whole minutes of predictions."""

    name: str
    key: str
    """Of the plan; under another one the counts are those of another experiment."""
    began: int
    """First minute that counts, in Unix seconds."""
    until: int
    """The minute after the last one that is counted, in Unix seconds."""
    at: int
    """The tick at which this was last brought up to date, in Unix seconds."""
    arms: Sequence[Arm]

    @classmethod
    def begin(cls, plan: Plan, at: int) -> Self:
        """Begin at a whole minute, in Unix seconds, with nothing counted."""
        return cls(
            name=plan.name,
            key=plan.key,
            began=at,
            until=at,
            at=at,
            arms=[
                Arm(
                    model=ModelVersion(model, plan.versions[model]),
                    weight=weight,
                    counts=ArmCounts.nothing(),
                )
                for model, weight in plan.weights.items()
            ],
        )

    def is_of(self, plan: Plan) -> bool:
        """Whether these are the counts of a plan and of the versions that it serves.

        A new version of one arm has not seen the days that the others have, so it is a new
        experiment for all.
        """
        return self.key == plan.key and all(
            plan.versions.get(arm.model_name) == arm.model.version for arm in self.arms
        )

    def advanced(self, growth: Mapping[ModelVersion, ArmCounts], *, until: int, at: int) -> Self:
        """Add what the minutes from the last ``until`` to the new one have brought."""
        return replace(
            self,
            until=until,
            at=at,
            arms=[replace(arm, counts=arm.counts + growth[arm.model]) for arm in self.arms],
        )

    def to_json(self) -> str:
        """Serialise without loss; floats round-trip exactly."""
        content = {
            "format": _FORMAT,
            "name": self.name,
            "key": self.key,
            "began": self.began,
            "until": self.until,
            "at": self.at,
            "arms": [_to_json(arm) for arm in self.arms],
        }
        return json.dumps(content, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a state of this format.
        """
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT:
                raise ValueError(f"experiment state format {content['format']} is not {_FORMAT}")
            return cls(
                name=content["name"],
                key=content["key"],
                began=content["began"],
                until=content["until"],
                at=content["at"],
                arms=[_from_json(arm) for arm in content["arms"]],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of an experiment: {error!r}") from error


def _to_json(arm: Arm) -> dict[str, Any]:
    return {
        "model_name": arm.model_name,
        "model_version": arm.model.version,
        "weight": arm.weight,
        "impressions": arm.counts.impressions.tolist(),
        "clicks": arm.counts.clicks.tolist(),
        "served": asdict(arm.counts.served),
    }


def _from_json(content: dict[str, Any]) -> Arm:
    return Arm(
        model=ModelVersion(content["model_name"], content["model_version"]),
        weight=content["weight"],
        counts=ArmCounts(
            impressions=np.array(content["impressions"], dtype=np.float64),
            clicks=np.array(content["clicks"], dtype=np.float64),
            served=Served(**content["served"]),
        ),
    )
