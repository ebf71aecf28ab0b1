"""What all parts share: the model, the requests on disk, the cores, and how long to measure."""

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.serving.load import Traffic
from benchmarks.serving.machine import Cores
from benchmarks.serving.servers import Server
from benchmarks.serving.subject import BATCH_ROWS, BODIES, Subject

PREDICT, BATCH = "/predict_ctr", "/predict_ctr/batch"
_TOLERANCE = 1e-6
JSON = {"Content-Type": "application/json"}


class WrongAnswerError(Exception):
    """A server does not answer what the model says: how fast it is does not matter then."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: int
    """Of one run of wrk."""
    starts: int
    calls: int
    """Of something in process."""
    growth_predictions: int
    growth_seconds: int
    """At most, whatever was reached by then."""
    growth_readings: int


FULL = Effort(
    rounds=6,
    seconds=4,
    starts=5,
    calls=1000,
    growth_predictions=10**7,
    growth_seconds=180,
    growth_readings=15,
)
QUICK = Effort(
    rounds=1,
    seconds=1,
    starts=1,
    calls=100,
    growth_predictions=10**5,
    growth_seconds=3,
    growth_readings=2,
)


@dataclass(frozen=True)
class Setup:
    """Given to every part."""

    subject: Subject
    cores: Cores
    effort: Effort
    folder: Path
    """For the state of servers; nothing in it is kept."""
    single: Traffic
    batch: Traffic

    @classmethod
    def of(cls, subject: Subject, cores: Cores, effort: Effort, folder: Path) -> Self:
        """Write the bodies where wrk finds them."""
        bodies, batches = folder / "bodies", folder / "batches"
        bodies.write_text("\n".join(subject.bodies()))
        batches.write_text("\n".join(subject.batches()))
        single = Traffic(PREDICT, bodies)
        return cls(subject, cores, effort, folder, single, Traffic(BATCH, batches))

    @property
    def models(self) -> Path:
        """Folder of the model."""
        return self.subject.models_dir


def check_answers(server: Server, subject: Subject) -> None:
    """Ask every body once and compare with ``Booster.predict``.

    Raises:
        WrongAnswerError: An answer is no success, or its score is off by more than 1e-6.
    """
    answers = ask(server, PREDICT, subject.bodies())
    _compare(server, [json.loads(answer)["predicted_ctr"] for answer in answers], subject)


def check_batch(server: Server, subject: Subject) -> None:
    """Ask one batch and compare with ``Booster.predict``.

    Raises:
        WrongAnswerError: As for single requests.
    """
    [answer] = ask(server, BATCH, subject.batches()[:1])
    _compare(server, [row["predicted_ctr"] for row in json.loads(answer)["predictions"]], subject)


def ask(server: Server, path: str, bodies: Sequence[str]) -> list[bytes]:
    """Send each body by itself over one connection and return the answers.

    Raises:
        WrongAnswerError: One is no success.
    """
    connection = http.client.HTTPConnection(server.address, timeout=30)
    answers = []
    for body in bodies:
        connection.request("POST", path, body, JSON)
        answers.append(answer_of(server, path, connection.getresponse()))
    connection.close()
    return answers


def answer_of(server: Server, path: str, answer: http.client.HTTPResponse) -> bytes:
    """Read an answer.

    Raises:
        WrongAnswerError: It is no success.
    """
    content = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise WrongAnswerError(f"{server.name}: {path} answers {answer.status}: {content!r}")
    return content


def _compare(server: Server, scores: Sequence[float], subject: Subject) -> None:
    if len(scores) not in {BODIES, BATCH_ROWS}:
        raise WrongAnswerError(f"{server.name} gave {len(scores)} scores")
    off = float(np.abs(np.array(scores) - subject.scores(len(scores))).max())
    if off > _TOLERANCE:
        raise WrongAnswerError(f"{server.name} is off by {off:.2g} from Booster.predict")
