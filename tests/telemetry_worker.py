"""A worker that records, in this process or in one that is killed.

Apart from the tests, so that the other process need not import what they compare with.
"""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np

from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import ModelRecorder, Recorder

VOCABULARIES = {"device": ("mobile", "(other)", "(unseen)"), "hour": ("0", "1")}


class Worker:
    """A worker that lives in the process that makes it."""

    def __init__(self, folder: MetricsFolder) -> None:
        self.files = folder.join()
        self.recorder = Recorder(self.files)
        self.model: ModelRecorder = self.recorder.model(
            "m", version="1", kind="xgboost", evaluator="forest", vocabularies=VOCABULARIES
        )
        self.assigned = self.recorder.assigned("m", version="1", experiment="t.0")

    def serve(self, seconds: float, *scores: float) -> None:
        self.model.started()
        value_indices = np.zeros((len(scores), 2), dtype=np.int64)
        self.model.answered([seconds], np.array(scores), value_indices)
        self.recorder.flush()


def _serve_and_die(path: Path) -> None:
    worker = Worker(MetricsFolder(path))
    worker.serve(0.25, 0.5)
    for _ in range(3):
        worker.model.started()
    worker.recorder.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def kill_a_worker(folder: MetricsFolder) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_serve_and_die, args=(folder.path,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
