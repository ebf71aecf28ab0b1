"""Why the counters cannot be given."""


class CountersUnavailableError(Exception):
    """The metrics files cannot be read now, or only a part of them; the message says why."""
