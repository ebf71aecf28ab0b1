"""What our detector and the usual tools say of one stream, and when."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.feature_changes import PEERS, last_hour
from service.monitoring.feature_drift.course import FeatureCourse, UnusableFeatureError
from service.monitoring.feature_drift.detector import Counts, FeatureDetector
from service.monitoring.feature_drift.distribution import FeatureDistribution

OURS = "ours"
_PAGE_SECONDS = 3600.0
_WHOLE_HOUR = 12
"""Blocks."""

Rows = tuple[float, Counts]
"""The end of a tick in Unix seconds, and its rows by feature and value."""


@dataclass(slots=True)
class Heard:
    """What was said of one stream."""

    pages: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By tool: alarms of any feature, those less than an hour apart being one."""
    in_alarm: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By tool: looks of which something was in alarm."""
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a tool first said of a feature that it changed."""
    looks: int = 0
    evidence: float = 0.0
    """The greatest of ours."""
    last: dict[str, float] = field(default_factory=dict)
    """When each tool was last in alarm."""

    def note(self, tool: str, features: Iterable[str], at: float) -> None:
        """Take in the features that are in alarm."""
        names = list(features)
        if not names:
            return
        self.in_alarm[tool] += 1
        if at - self.last.get(tool, -np.inf) > _PAGE_SECONDS:
            self.pages[tool] += 1
        self.last[tool] = at
        for feature in names:
            self.first.setdefault((tool, feature), at)


def detector_of(distributions: Mapping[str, FeatureDistribution]) -> FeatureDetector:
    """Prepare what the service would prepare."""
    courses = {}
    for feature, distribution in distributions.items():
        try:
            courses[feature] = FeatureCourse.of(feature, distribution)
        except UnusableFeatureError:
            continue
    return FeatureDetector(courses, key="benchmark", window_seconds=3600)


def listen(
    detector: FeatureDetector,
    ticks: Iterable[Rows],
    *,
    feature: str | None = None,
    onset: float = 0.0,
) -> Heard:
    """Fold a stream; the peers look every five minutes, once there is an hour.

    Args:
        detector: Begins afresh.
        ticks: The stream.
        feature: Stop once every tool has said that this one changed.
        onset: What is said earlier does not count, in Unix seconds.
    """
    heard, state = Heard(), detector.start()
    tools = (OURS, *(peer.name for peer in PEERS))
    for end, counts in ticks:
        blocks = state.blocks
        state = detector.advance(state, counts, end=end)
        heard.evidence = max(heard.evidence, *state.log_evidence)
        if end < onset:
            continue
        standing = [
            name
            for name, one in zip(detector.courses, state.standing, strict=True)
            if one is not None
        ]
        for name in standing:
            heard.first.setdefault((OURS, name), end)
        if state.blocks is blocks:
            continue
        heard.looks += 1
        heard.note(OURS, standing, end)
        if len(state.blocks) >= _WHOLE_HOUR:
            seen = last_hour(detector, state)
            for peer in PEERS:
                heard.note(peer.name, (f for f, s in seen.items() if peer.alarms(*s)), end)
        if feature is not None and all((tool, feature) in heard.first for tool in tools):
            break
    return heard
