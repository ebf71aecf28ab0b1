"""From an ad request to a score."""
