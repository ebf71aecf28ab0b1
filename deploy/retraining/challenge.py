"""Lets a freshly trained model compete with the one that drifted: in the A/B test or the shadow.

The experiment file is replaced in one step, then the service is asked to serve what is on disk. If
it refuses, the file is put back.
"""

import json
import logging
import math
import os
import time
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

RELOAD_PATH = "/models/reload"
_SUFFIX = "_challenger"
_ANSWER_SECONDS = 120.0
_TRIES = 3
_PAUSE_SECONDS = 1.0

_LOGGER = logging.getLogger(__name__)


class ChallengeError(Exception):
    """No challenger can compete; the message says why and what to do."""


class ExperimentRunningError(ChallengeError):
    """A test is running already, and is never overwritten."""


def challenger_of(model: str) -> str:
    """Name of the model that competes with ``model``; of the two each is the other's."""
    return model.removesuffix(_SUFFIX) if model.endswith(_SUFFIX) else f"{model}{_SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentFile:
    """What the experiment file says."""

    name: str
    salt: str
    variants: Mapping[str, float]
    """Weight by model."""
    shadow: Mapping[str, float]
    """Share by model."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it.

        Raises:
            ChallengeError: It is not there, or does not say that.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls(
                name=str(content["name"]),
                salt=str(content["salt"]),
                variants={str(k): float(v) for k, v in content["variants"].items()},
                shadow={str(k): float(v) for k, v in content.get("shadow", {}).items()},
            )
        except OSError as error:
            raise ChallengeError(f"{path}: {error.strerror}; name the service's file") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ChallengeError(f"{path} is no experiment: {error!r}") from error

    @property
    def active(self) -> Collection[str]:
        """Models that answer users."""
        return [model for model, weight in self.variants.items() if weight > 0]

    def to_toml(self) -> str:
        """Write it; names of models need no quotes."""
        lines = [f"name = {json.dumps(self.name)}", f"salt = {json.dumps(self.salt)}"]
        for title, numbers in (("variants", self.variants), ("shadow", self.shadow)):
            if numbers:
                lines += ["", f"[{title}]", *(f"{model} = {n!r}" for model, n in numbers.items())]
        return "\n".join([*lines, ""])


class Challenge:
    """Puts challengers of models that drifted into the experiment.

    Args:
        experiment_file: That of the service.
        service_url: Where the service is, such as ``http://127.0.0.1:8000``.
        weight: Share of the users that a challenger gets; None where it is to stay in the shadow.
        shadow_share: Share of the requests that it scores in the shadow then.
        token: What the service wants to be shown; None where it asks for nothing.
    """

    def __init__(
        self,
        *,
        experiment_file: Path,
        service_url: str,
        weight: float | None,
        shadow_share: float = 1.0,
        token: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = experiment_file
        self._url = service_url.rstrip("/") + RELOAD_PATH
        self._weight = weight
        self._shadow_share = shadow_share
        self._token = token
        self._clock = clock

    def challengers(self, drifted: Collection[str]) -> Mapping[str, str]:
        """Name what is to be trained: the challenger of each of these models that needs one.

        Raises:
            ExperimentRunningError: A test is running that must be decided first.
            ChallengeError: The file cannot be used.
        """
        experiment = ExperimentFile.read(self._file)
        if self._weight is None:
            wanted = {model: challenger_of(model) for model in sorted(drifted)}
            busy = {*experiment.active, *experiment.shadow} & set(wanted.values())
            if busy:
                raise ExperimentRunningError(
                    f"{', '.join(sorted(busy))} is being tested already; "
                    f"decide on it in {self._file}"
                )
            return wanted
        if len(experiment.active) > 1:
            raise ExperimentRunningError(
                f"the experiment {experiment.name!r} is running; decide on it in {self._file}"
            )
        return {model: challenger_of(model) for model in experiment.active if model in drifted}

    def begin(self, drifted: Collection[str]) -> None:
        """Have the challengers of these models serve; they are on disk by now.

        Raises:
            ChallengeError: They do not serve; the experiment file is as it was.
        """
        wanted = self.challengers(drifted)
        if not wanted:
            raise ChallengeError(f"by {self._file} nobody is served with {', '.join(drifted)} now")
        before = self._file.read_bytes()
        _replace(self._file.with_name(f"{self._file.name}.before"), before)
        _replace(self._file, self._with(wanted).to_toml().encode())
        try:
            answer = self._reload()
        except BaseException:
            # Whatever it was: what does not serve is not left for the next reload to find.
            _replace(self._file, before)
            raise
        _LOGGER.info("%s competes: %s", ", ".join(wanted.values()), answer)

    def _with(self, wanted: Mapping[str, str]) -> ExperimentFile:
        experiment = ExperimentFile.read(self._file)
        if self._weight is None:
            shares = dict.fromkeys(wanted.values(), self._shadow_share)
            return replace(experiment, shadow={**experiment.shadow, **shares})
        [(model, challenger)] = wanted.items()
        name = f"{challenger}-{math.floor(self._clock())}"
        variants = {model: 1 - self._weight, challenger: self._weight}
        shadow = {m: share for m, share in experiment.shadow.items() if m != challenger}
        return ExperimentFile(name=name, salt=name, variants=variants, shadow=shadow)

    def _reload(self) -> str:
        for _ in range(_TRIES - 1):
            try:
                return self._ask()
            except _NotNowError:
                # Asked again, it is the same release.
                time.sleep(_PAUSE_SECONDS)
        return self._ask()

    def _ask(self) -> str:
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        request = Request(self._url, b"{}", headers)  # noqa: S310 - the operator's own URL
        try:
            with urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - see above
                return str(answer.read().decode())
        except HTTPError as error:
            busy = error.code == HTTPStatus.SERVICE_UNAVAILABLE
            said = f"the service refuses: {error.read().decode(errors='replace')}"
            raise (_NotNowError if busy else ChallengeError)(said) from error
        except (OSError, HTTPException) as error:
            # A worker that was killed answers nobody.
            raise _NotNowError(f"{self._url} does not answer: {error}") from error


class _NotNowError(ChallengeError):
    """Another try may succeed."""


def _replace(path: Path, content: bytes) -> None:
    """Replace a file in one step: whoever reads it sees the old or the new one."""
    unnamed = path.with_name(f".{path.name}")
    with unnamed.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unnamed.replace(path)
