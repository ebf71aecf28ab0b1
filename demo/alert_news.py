"""Which alerts are new and which are over, as somebody would tell it who looks again and again."""

from collections.abc import Mapping, Sequence

_OVER_AFTER_SECONDS = 40.0
"""A restart hides an alert for a moment; it is not over then."""


class AlertNews:
    """Remembers which alerts were told."""

    def __init__(self) -> None:
        self._last_firing: dict[str, float] = {}

    def of(self, states: Mapping[str, str], *, now: float) -> Sequence[str]:
        """Tell what has changed.

        Args:
            states: State of each alert that there is, by name.
            now: Seconds of any clock that does not go back.
        """
        firing = [name for name, state in states.items() if state == "firing"]
        news = [f"{name} is firing" for name in firing if name not in self._last_firing]
        self._last_firing |= dict.fromkeys(firing, now)
        for name, last in tuple(self._last_firing.items()):
            if now - last > _OVER_AFTER_SECONDS:
                del self._last_firing[name]
                news.append(f"{name} is over")
        return news
