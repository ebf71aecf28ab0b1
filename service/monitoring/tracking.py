"""What is told to MLflow: runs, and entries that are frozen before they are sent."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self


class RunKind(StrEnum):
    """What a run is about."""

    MONITORING = "monitoring"
    """One model version on one UTC day."""
    SAMPLES = "samples"
    """Individual predictions of such a day; its child."""
    RELEASE = "release"
    """A model version that was trained."""
    EVENT = "event"
    """A change of the version that is served."""


class EntryKind(StrEnum):
    """What an entry tells; within a run its kind and step are unique."""

    WINDOW = "window"
    SAMPLES = "samples"
    DAY = "day"
    """Aggregates of the day so far, searchable as the run's latest values."""
    CLOSE = "close"
    """The last word of a run."""
    EVENT = "event"
    REPORT = "report"
    """A page about a day, drawn when it is sent."""
    RELEASE = "release"
    """A trained model with its files."""


WITH_FILES = frozenset({EntryKind.REPORT, EntryKind.RELEASE})
"""Kinds of entries that hold up nothing else when files cannot be stored."""


class Point(NamedTuple):
    """One value of one metric; unique in MLflow by all its fields."""

    name: str
    value: float
    timestamp_ms: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """A run as the history wants it, whether or not MLflow has it yet."""

    key: str
    """Unique for ever; also a tag, by which the run is found again."""
    kind: RunKind
    name: str
    model_name: str
    model_version: str
    day: str
    """UTC day, such as ``2026-11-23``."""
    start_ms: int
    parent_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Serialise without loss."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a run.
        """
        try:
            content = json.loads(text)
            return cls(**content | {"kind": RunKind(content["kind"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a tracked run: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something about a run that never changes once it is frozen."""

    run_key: str
    kind: EntryKind
    step: int
    points: Sequence[Point] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()
    """Paths of files that belong to the run."""
    end_ms: int | None = None
    """When the run ended; it is then finished."""

    def to_json(self) -> str:
        """Serialise what is told; key, kind and step are kept beside it."""
        content = {
            "points": self.points,
            "tags": self.tags,
            "params": self.params,
            "files": self.files,
            "end_ms": self.end_ms,
        }
        return json.dumps(content, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, run_key: str, kind: str, step: int, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not an entry.
        """
        try:
            content = json.loads(text)
            return cls(
                run_key=run_key,
                kind=EntryKind(kind),
                step=step,
                points=tuple(Point(*point) for point in content["points"]),
                tags=content["tags"],
                params=content["params"],
                files=tuple(content["files"]),
                end_ms=content["end_ms"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an entry of the outbox: {error!r}") from error
