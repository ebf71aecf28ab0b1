"""Tells the story: lets things happen, and says what the service reports about them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from demo.alert_news import AlertNews
from demo.chapters import Chapter
from demo.interruption import Interruption
from demo.narrator import Narrator
from demo.programs import StageError
from demo.questions import Asking, Json, Source
from demo.signs import Sign, alerts
from demo.stage import Stage
from demo.visitors import NORMAL, Visitors

_ASK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Everything that a story needs."""

    stage: Stage
    visitors: Visitors
    asking: Asking
    narrator: Narrator
    interruption: Interruption
    speed: float
    """How many times faster than a person reads."""
    release: Callable[[], None]
    """Trains again; the service then serves what is on disk."""
    news: AlertNews = field(default_factory=AlertNews)

    def tell(self, chapters: Sequence[Chapter]) -> None:
        """Tell one chapter after the other.

        Raises:
            InterruptedDemoError: Somebody wants the demo to end.
            StageError: Something does not work.
        """
        faults = ""
        for number, chapter in enumerate(chapters, start=1):
            self.narrator.say()
            self.narrator.say(f"{number}/{len(chapters)}  {chapter.title}")
            self.narrator.say(chapter.tells, indent=5)
            for place in chapter.look:
                self.narrator.say(f"look at {place}", indent=5)
            began = time.monotonic()
            self.visitors.mood = chapter.mood
            if chapter.faults != faults:
                self._restart(faults := chapter.faults)
            if chapter.released:
                self.release()
                if not self.asking.release():
                    raise StageError("POST /models/reload was refused; see service.log")
                self._report(began, "trained again and released: a new version is served")
            self._watch(f"{number}/{len(chapters)}", chapter, began)

    def go_on(self) -> None:
        """Keep serving, and say when health changes.

        Raises:
            InterruptedDemoError: Somebody wants the demo to end.
            StageError: Something does not work.
        """
        self.visitors.mood = NORMAL
        began, status = time.monotonic(), ""
        with self.narrator.progress("serving until Ctrl-C,") as bar:
            while True:
                self.interruption.wait(_ASK_EVERY_SECONDS)
                self.stage.check()
                bar.move(time.monotonic() - began)
                health = self.asking.ask(Source.HEALTH)
                if health is not None and health["status"] != status:
                    status = str(health["status"])
                    self._report(began, "; ".join([f"health: {status}", *health["alerts"]]))
                self._tell_alerts(began, self.asking.ask(Source.ALERTS))

    def _restart(self, faults: str) -> None:
        with self.visitors.resting() as seen:
            self.stage.stop_service()
            self.stage.start_service(faults=faults)
            stats = self.asking.ask(Source.STATS)
            if stats is not None:
                counted = sum(model["total_requests"] for model in stats["models"].values())
                self.narrator.say(
                    f"restarted: visitors had {seen.answered:,} answers, "
                    f"/monitoring/stats counts {counted:,}",
                    indent=5,
                )

    def _watch(self, name: str, chapter: Chapter, began: float) -> None:
        waiting = list(chapter.signs)
        seconds = chapter.seconds / self.speed
        with self.narrator.progress(name, seconds) as bar:
            while (passed := time.monotonic() - began) < seconds or _needed(waiting):
                if passed > max(seconds, chapter.patience_seconds):
                    names = ", ".join(_needed(waiting))
                    self.narrator.say(f"not seen within {passed:.0f} s: {names}", indent=5)
                    return
                self.interruption.wait(min(_ASK_EVERY_SECONDS, seconds))
                self.stage.check()
                answers = {
                    source: self.asking.ask(source)
                    for source in {*(sign.source for sign in waiting), Source.ALERTS}
                }
                for sign in tuple(waiting):
                    answer = answers[sign.source]
                    told = None if answer is None else sign.says(answer)
                    if told is not None:
                        waiting.remove(sign)
                        self._report(began, told)
                self._tell_alerts(began, answers[Source.ALERTS])
                bar.move(time.monotonic() - began, _needed(waiting))

    def _tell_alerts(self, began: float, answer: Json | None) -> None:
        if answer is not None:
            for told in self.news.of(alerts(answer), now=time.monotonic()):
                self._report(began, f"Prometheus: {told}")

    def _report(self, began: float, told: str) -> None:
        self.narrator.say(f"{time.monotonic() - began:4.0f} s  {told}", indent=3, hanging=8)


def _needed(signs: Sequence[Sign]) -> Sequence[str]:
    return [sign.name for sign in signs if sign.needed]
