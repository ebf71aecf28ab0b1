"""What a later release has written is refused: a guess at what it means would be a wrong number."""

from service import __version__


def written_later(what: str, *, form: str, found: int, known: int, instead: str) -> str:
    """Say why something that a later release wrote is not used.

    Args:
        what: That which was written.
        form: What is numbered, such as ``format``.
        found: Its number there.
        known: The newest number that this release reads.
        instead: What can be done besides running the later release.
    """
    return (
        f"{what} was written by a newer release ({form} {found}, this release, {__version__}, "
        f"knows {known}): run that release, or {instead}"
    )
