"""What the terminal shows: lines that stay, and a bar below them that moves."""

import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Never

from tqdm import tqdm

_COLUMNS = 96
_BAR = "{desc} {bar:24} {n:.0f} of {total:.0f} s{postfix}"
_UNKNOWN_LENGTH = "{desc} {n:.0f} s{postfix}"


class Narrator:
    """Speaks to a terminal; where there is none, plain lines without bars."""

    def say(self, text: str = "", *, indent: int = 0, hanging: int = 0) -> None:
        """Write a line, wrapped unless it has an address to be copied.

        Args:
            text: What to say.
            indent: Spaces before it.
            hanging: Further spaces before the lines that it is continued on.
        """
        first = " " * indent
        if "http://" in text:
            lines = [first + text]
        else:
            further = first + " " * hanging
            wrap = textwrap.TextWrapper(
                _COLUMNS,
                initial_indent=first,
                subsequent_indent=further,
                break_on_hyphens=False,
                break_long_words=False,
            )
            lines = wrap.wrap(text) or [""]
        for line in lines:
            tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    @contextmanager
    def progress(self, what: str, seconds: float | None = None) -> Iterator["Progress"]:
        """Show a bar while something goes on; ``seconds`` is how long it takes, where known."""
        bar: tqdm[Never] = tqdm(
            desc=what,
            total=seconds,
            bar_format=_UNKNOWN_LENGTH if seconds is None else _BAR,
            leave=False,
            disable=None,
            file=sys.stderr,
        )
        with bar:
            yield Progress(bar)


class Progress:
    """A bar that is shown."""

    def __init__(self, bar: "tqdm[Never]") -> None:
        self._bar = bar

    def move(self, seconds: float, waiting_for: Iterable[str] = ()) -> None:
        """Show how far it is, and what is still to come."""
        names = ", ".join(waiting_for)
        total = self._bar.total
        self._bar.n = seconds if total is None else min(seconds, total)
        self._bar.set_postfix_str(f"waiting for: {names}" if names else "", refresh=False)
        self._bar.refresh()
