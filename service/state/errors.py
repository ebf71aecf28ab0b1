"""What can go wrong with the state store.

StateError
└── StateUnavailableError
"""


class StateError(Exception):
    """The state store cannot be used as it is; the message says what to do."""


class StateUnavailableError(StateError):
    """The database does not answer, or not now: locked, full, down. Nothing was half-written."""
