"""The Open Bandit logs as an A/B test: two policies, users known by their segment."""

import csv
import hashlib
from collections.abc import Iterable

import numpy as np

from benchmarks.experiment_worlds import Course
from service.monitoring.cells import CELLS

_POLICIES = ("random", "bts")


def obd_course(lines: Iterable[str], looks: int) -> Course:
    """Read a log in order of time and look at it after equal numbers of impressions.

    The source has no users, only 337 segments of them, and both policies served every segment:
    what varies between users in it is less than between users who were assigned.

    Args:
        lines: CSV with a header; columns ``user_id``, ``policy`` and ``click`` are used.
        looks: How often.
    """
    rows = list(csv.DictReader(lines))
    arms = len(_POLICIES)
    counts = np.zeros((2, looks, arms, CELLS))
    for number, row in enumerate(rows):
        digest = hashlib.blake2b(row["user_id"].encode(), digest_size=8).digest()
        place = (
            number * looks // len(rows),
            _POLICIES.index(row["policy"]),
            int.from_bytes(digest) % CELLS,
        )
        counts[0][place] += 1
        counts[1][place] += int(row["click"])
    shown, clicked = counts.cumsum(axis=1)
    return Course(weights=(1.0,) * arms, impressions=shown, clicks=clicked)
