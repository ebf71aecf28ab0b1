"""One question put to a model: will this user click this ad, here and now?"""

from typing import NamedTuple


class AdRequest(NamedTuple):
    """The six facts a score is made from, in the order of the API's body."""

    user_id: str
    ad_id: str
    device: str
    placement: str
    hour: int
    """Hour of the impression, 0 to 23."""
    day_of_week: int
    """0 is Monday, 6 is Sunday."""
