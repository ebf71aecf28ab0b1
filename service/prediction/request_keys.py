"""What of a request is looked up: its fields, and parts of ids that outlive the ids.

Most users and many ads of tomorrow are new. What they share with those of today is often in the
id itself, so a new id is still known by its part. Chosen on real logs; where the ids of a log are
mere numbers a part says nothing, its effect is drawn to zero, and nothing is lost.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

EFFECT = "effect"
"""Smoothed log-odds of a click for this key, minus those of the whole log."""

LOG_COUNT = "log_count"
"""Natural logarithm of one plus the key's impressions in training."""


# Cut by C code: a Python function would cost more than the lookup that it is for.
ad_family = itemgetter(slice(4))
"""Leading characters of an ad id: neighbouring ids often belong to one campaign."""

ad_siblings = itemgetter(slice(5))
"""One more leading character than the family: for numbered ads, about ten neighbours."""

user_tail = itemgetter(slice(-4, None))
"""Trailing characters of a user id, where composed ids carry the device's model."""


def publisher(placement: str) -> str:
    """Return what comes before the colon in ``publisher:slot``; all of it without a colon."""
    return placement.partition(":")[0]


def slot(placement: str) -> str:
    """Return what comes after the colon in ``publisher:slot``; empty without a colon."""
    return placement.partition(":")[2]


def whole(value: str | int) -> str | int:
    """Return the field itself."""
    return value


class Key(NamedTuple):
    """One lookup: which field of the request, and what part of it."""

    table: str
    field: str
    """Of :class:`AdRequest`."""
    part: Callable[[Any], str | int]
    features: tuple[str, ...] = (EFFECT, LOG_COUNT)


KEYS = (
    Key("ad", "ad_id", whole),
    Key("ad_family", "ad_id", ad_family),
    Key("ad_siblings", "ad_id", ad_siblings),
    Key("placement", "placement", whole),
    Key("publisher", "placement", publisher),
    Key("slot", "placement", slot),
    Key("user", "user_id", whole),
    Key("user_tail", "user_id", user_tail),
    Key("device", "device", whole),
    # How often an hour occurred tells when the log began and ended, nothing about clicks.
    Key("hour", "hour", whole, (EFFECT,)),
    Key("day_of_week", "day_of_week", whole, (EFFECT,)),
)
"""The lookups, in the order of the feature columns."""
