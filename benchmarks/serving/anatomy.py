"""Where a request's processor time goes: each step of a turn by itself, in process."""

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import repeat
from pathlib import Path

from benchmarks.serving.recording import recorded_turn
from benchmarks.serving.results import Part, Table
from benchmarks.serving.rounds import Spread, interleaved
from benchmarks.serving.setup import Setup
from service.api.answers import rendered_one
from service.api.quick_bodies import read_one
from service.prediction.prediction_id import Signer
from service.prediction.turn import Prediction
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder

_TURNS = (1, 6, 16)
_TURNS_A_ROUND = 300
_MICROSECONDS = 1e6
_ALL = "all of these"

Step = Callable[[], object]


def measure(setup: Setup, *, cpu_us: float | None) -> Part:
    """Measure each step; ``cpu_us`` is a whole request's processor time where that is known."""
    with tempfile.TemporaryDirectory(dir=setup.folder) as folder:
        files = MetricsFolder.begin(Path(folder), time.time()).join()
        recorder = Recorder(files)
        columns = {
            size: {
                name: Spread.of(values)
                for name, values in interleaved(
                    {
                        name: partial(_us, step, size)
                        for name, step in _steps(setup, recorder, size).items()
                    },
                    setup.effort.rounds,
                ).items()
            }
            for size in _TURNS
        }
        files.close()
    lines = [
        [name, *(f"{columns[size][name].median:.2f}" for size in _TURNS)]
        for name in columns[_TURNS[0]]
    ]
    totals = [sum(spread.median for spread in columns[size].values()) for size in _TURNS]
    lines.append([_ALL, *(f"{total:.1f}" for total in totals)])
    notes = [
        (
            "What is missing to a whole request: uvicorn, the event loop, the kernel, the code "
            "between the steps, and that under load little stays in the processor's cache."
        )
    ]
    if cpu_us is not None:
        notes.append(f"A whole request under load takes {cpu_us:.0f} us.")
    return Part(
        "Where the time goes",
        [],
        [Table("us per request, in turns of", ["step", *map(str, _TURNS)], lines)],
        notes,
    )


def _steps(setup: Setup, recorder: Recorder, size: int) -> Mapping[str, Step]:
    """Prepare each step of a turn, with what the one before it would have made."""
    bundle = setup.subject.bundle
    requests = setup.subject.requests[:size]
    bodies = [body.encode() for body in setup.subject.bodies()[:size]]
    features = bundle.encoder.encode(requests)
    scores = bundle.model.predict(features)
    signer = Signer(b"k" * 32, origin=1)
    sign = partial(
        signer.sign,
        bundle.name,
        bundle.version,
        cells=[None] * size,
        experiment=1,
        milliseconds=1_764_000_000_000,
    )
    names = repeat(bundle.name), repeat(bundle.version)
    predictions = list(map(Prediction, sign(scores.tolist()), scores.tolist(), *names))
    return {
        "read the body": lambda: [read_one(body) for body in bodies],
        "features": partial(bundle.encoder.encode, requests),
        "score": partial(bundle.model.predict, features),
        "prediction id": lambda: sign(scores.tolist()),
        "write the answer": lambda: [rendered_one((one,), 1.234567) for one in predictions],
        "record": recorded_turn(setup, recorder, size),
    }


def _us(step: Step, size: int) -> float:
    began = time.thread_time()
    for _ in range(_TURNS_A_ROUND):
        step()
    return (time.thread_time() - began) / (_TURNS_A_ROUND * size) * _MICROSECONDS
