"""Why a source gives no answer."""


class SourceUnavailableError(Exception):
    """The source does not answer, or knows only a part; the message says what to look at."""
