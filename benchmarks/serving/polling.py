"""What predictions notice of being watched: p99 while everything is polled every second."""

from benchmarks.serving.load import Load, each, load
from benchmarks.serving.questions import Polling
from benchmarks.serving.results import SAME, Goal, Part, Row
from benchmarks.serving.rounds import Comparison, interleaved
from benchmarks.serving.servers import running, service
from benchmarks.serving.setup import Setup

_POLLED, _IDLE, _AGAIN = "polled", "idle", "idle again"


def measure(setup: Setup) -> Part:
    """Measure one service in turn polled and not, and not again for what chance does."""
    asked = 0
    with running([service("watched", setup.models)], setup.folder, cores=setup.cores.servers) as up:
        server = up["watched"]

        def idle() -> Load:
            return load(server, setup.single, seconds=setup.effort.seconds, cores=setup.cores.load)

        def polled() -> Load:
            nonlocal asked
            with Polling(server, setup.cores.load) as polling:
                done = idle()
            asked += polling.asked
            return done

        idle()
        loads = interleaved({_POLLED: polled, _IDLE: idle, _AGAIN: idle}, setup.effort.rounds)
    p99 = [each(loads[name], "p99_ms") for name in (_POLLED, _IDLE, _AGAIN)]
    speed = [each(loads[name], "per_second") for name in (_POLLED, _IDLE, _AGAIN)]
    goal = Goal(1.10, SAME, more_is_better=False)
    seconds = sum(run.seconds for run in loads[_POLLED])
    return Part(
        "Predictions while everything is polled every second, against idle",
        [
            Row.of("p99, polled / idle", Comparison.of(*p99), goal),
            Row.of("requests/s, polled / idle", Comparison.of(*speed), Goal()),
        ],
        remarks=[f"{asked / seconds:.1f} questions per second were answered meanwhile."],
    )
