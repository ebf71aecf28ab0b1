"""How long a start takes: from the command to the first answer of ``/readyz``."""

from benchmarks.serving.results import Goal, Part, Row
from benchmarks.serving.rounds import Spread
from benchmarks.serving.servers import running, service
from benchmarks.serving.setup import Setup


def measure(setup: Setup) -> Part:
    """Start one worker with an empty state folder, several times; the files are in the cache."""
    seconds = []
    for _ in range(setup.effort.starts):
        with running([service("start", setup.models)], setup.folder, cores=None) as servers:
            seconds.append(servers["start"].ready_after_seconds)
    return Part(
        "Start",
        [Row("ready after start", Spread.of(seconds), Goal(3.0, 1.5, more_is_better=False), "s")],
        remarks=["Not pinned, without the bridge, into an empty state folder."],
    )
