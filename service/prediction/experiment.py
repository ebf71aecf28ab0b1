"""A/B assignment: which model answers for which user."""

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Self

from service.monitoring.cells import CELLS

DEFAULT_FILE = Path("experiment.toml")
DEFAULT_MODEL = "xgboost"
_LARGEST = 1e9
"""Of weights: the sum of them is finite, and an integer of any length is no number."""


class ExperimentError(ValueError):
    """The experiment cannot be run; the message names the field and the fix."""


class Assignment(NamedTuple):
    """What the experiment gives a user."""

    model: str
    cell: int | None
    """Which of the ``CELLS`` groups of users this is one of; None where nothing is compared."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Shares of users for each variant; a variant is a model.

    The same user gets the same variant from every worker and after every restart, because the
    assignment is a function of the salt and the user id alone.
    """

    name: str
    salt: str
    weights: Mapping[str, float]
    """Positive weight, or 0 for none, by model name; they need not sum to 1."""
    shadow: Mapping[str, float] = dataclass_field(default_factory=dict)
    """Share of the assigned ad requests that a model scores without answering, by model name."""

    def __post_init__(self) -> None:
        for model, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ExperimentError(f"variants.{model}: {weight} is not a weight of 0 or more")
        if not sum(self.weights.values()) > 0:
            raise ExperimentError("variants: give at least one model a weight above 0")
        for model, share in self.shadow.items():
            if not 0 < share <= 1:
                raise ExperimentError(f"shadow.{model}: {share} is not a share above 0, up to 1")
            if self.weights.get(model, 0.0) > 0:
                raise ExperimentError(
                    f"shadow.{model}: it answers already; give it the weight 0 in [variants], "
                    "or take it out of [shadow]"
                )

    @classmethod
    def load(cls, file: Path | None, *, models: Sequence[str]) -> Self:
        """Read the experiment of a service that has loaded ``models``.

        Without a file all users get one model: ``xgboost``, or else the first.

        Raises:
            ExperimentError: The file cannot be used, or names a model that is not loaded.
        """
        file = experiment_file(file)
        if file is None:
            return cls.of_one(models)
        experiment = cls.from_toml(file)
        for table, named in (("variants", experiment.weights), ("shadow", experiment.shadow)):
            for model in named.keys() - set(models):
                raise ExperimentError(
                    f"{file}: {table}.{model}: there is no such model; "
                    f"there are {', '.join(models)}"
                )
        return experiment

    @classmethod
    def of_one(cls, models: Sequence[str]) -> Self:
        """Give all users one of ``models``."""
        only = DEFAULT_MODEL if DEFAULT_MODEL in models else models[0]
        return cls(name="none", salt="", weights={only: 1.0})

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read an experiment file.

        Raises:
            ExperimentError: The file is missing, is not TOML, or a field is wrong.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ExperimentError(f"{path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ExperimentError(f"{path}: not TOML: {error}") from error
        try:
            return cls(**_fields(content))
        except ExperimentError as error:
            raise ExperimentError(f"{path}: {error}") from None

    def shares(self) -> str:
        """Describe the variants that get traffic, for people."""
        total = sum(self.weights.values())
        return ", ".join(
            f"{model} to {weight / total:.0%}" for model, weight in self.weights.items() if weight
        )

    @cached_property
    def compares(self) -> bool:
        """Whether at least two variants get traffic."""
        return sum(weight > 0 for weight in self.weights.values()) > 1

    @cached_property
    def only(self) -> str | None:
        """The model that answers for all users; None where there are several."""
        answering = [model for model, weight in self.weights.items() if weight > 0]
        return answering[0] if len(answering) == 1 else None

    @cached_property
    def fingerprint(self) -> int:
        """32 bits that change with the name, the salt or a share.

        What was counted under other shares must not be compared with what is counted now.
        """
        total = sum(self.weights.values())
        shares = {model: f"{weight / total:.9f}" for model, weight in self.weights.items()}
        content = json.dumps([self.name, self.salt, shares], sort_keys=True)
        return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=4).digest())

    @cached_property
    def key(self) -> str:
        """Name and fingerprint, as metrics are labelled."""
        return f"{self.name}.{self.fingerprint:08x}"

    def assign(self, user_id: str) -> Assignment:
        """Model and cell of this user; the cell says nothing about the model."""
        state = self._salted.copy()
        state.update(user_id.encode())
        number = int.from_bytes(state.digest())
        share = number / 2**64
        cell = number % CELLS if self.compares else None
        for model, end in self._ends:
            if share < end:
                return Assignment(model, cell)
        # The share of 1 user in 2^54 rounds up to 1.0.
        return Assignment(max(self.weights, key=self.weights.__getitem__), cell)

    @cached_property
    def _salted(self) -> hashlib.blake2b:
        return hashlib.blake2b(f"{self.salt}:".encode(), digest_size=8)

    @cached_property
    def _ends(self) -> Sequence[tuple[str, float]]:
        """Where the share of each model ends, those of all users being from 0 to 1."""
        total = sum(self.weights.values())
        ends = accumulate(self.weights.values())
        return [(model, end / total) for model, end in zip(self.weights, ends, strict=True)]


def experiment_file(configured: Path | None) -> Path | None:
    """Find the file that describes the experiment; None where there is none."""
    if configured is None and DEFAULT_FILE.exists():
        return DEFAULT_FILE
    return configured


def _fields(content: Mapping[str, Any]) -> dict[str, Any]:
    unknown = content.keys() - {"name", "salt", "variants", "shadow"}
    if unknown:
        raise ExperimentError(
            f"{min(unknown)} is not a field; use name, salt, [variants] and [shadow]"
        )
    for field in ("name", "salt"):
        if not (isinstance(content.get(field), str) and content[field]):
            raise ExperimentError(f'{field}: give a text such as {field} = "2026-winter"')
    variants = content.get("variants")
    if not isinstance(variants, dict) or not variants:
        raise ExperimentError("variants: add a table [variants] with a line model = weight")
    shadow = content.get("shadow", {})
    if not isinstance(shadow, dict):
        raise ExperimentError("shadow: make it a table [shadow] with a line model = share")
    return {
        "name": content["name"],
        "salt": content["salt"],
        "weights": _numbers("variants", variants),
        "shadow": _numbers("shadow", shadow),
    }


def _numbers(table: str, lines: Mapping[str, Any]) -> dict[str, float]:
    for model, number in lines.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ExperimentError(f"{table}.{model}: {number!r} is not a number")
        if abs(number) > _LARGEST:
            raise ExperimentError(f"{table}.{model}: give a number up to {_LARGEST:g}")
    return {model: float(number) for model, number in lines.items()}
