"""What the next release is to be: which version of each model, and which experiment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from service.prediction.experiment import experiment_file
from service.prediction.model_folder import (
    CURRENT_FILE,
    KEPT_VERSIONS,
    VERSIONS_FOLDER,
    ModelFolderError,
    current_version,
    model_folders,
    versions_of,
)
from service.prediction.release import ReleaseRefusedError


class NotReleasedError(LookupError):
    """There is no model of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePlan:
    """Where the parts of a release come from.

    Raises:
        ValueError: In :meth:`from_json`, where the text is none.
    """

    versions: Mapping[str, str]
    """Version by model."""
    origins: Mapping[str, str]
    """Folder that training wrote the version to, by model."""
    fresh: Sequence[str]
    """Models that are read from there anew; the others stay as they are served now."""
    experiment: str | None
    """File that describes the experiment; None where there is none."""
    fresh_experiment: bool
    """Whether it is read anew."""
    earlier: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Versions that this instance served before, by model, the last one last."""

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not the plan of a release: {error}") from error


def plan_reload(
    models_dir: Path,
    configured_experiment: Path | None,
    *,
    serving: ReleasePlan | None,
    only: str | None = None,
) -> ReleasePlan:
    """Take the current version of every model on disk, and the experiment file as it is now.

    Args:
        models_dir: Folder that training writes to.
        configured_experiment: File of the experiment, where one is configured.
        serving: What was served until now; None before the first release.
        only: Take only this model from disk; the others stay as they are.

    Raises:
        NotReleasedError: ``only`` is neither served nor on disk.
        ReleaseRefusedError: No model is there, or the version wanted is not.
    """
    try:
        folders = {folder.name: folder for folder in model_folders(models_dir)}
        if only is not None and only not in folders:
            raise NotReleasedError(f"{models_dir} has no model {only!r}; it has {_list(folders)}")
        wanted = folders if only is None else {only: folders[only]}
        versions = {name: current_version(folder) for name, folder in wanted.items()}
    except ModelFolderError as error:
        raise ReleaseRefusedError(str(error)) from error
    origins = {name: _origin(wanted[name], version) for name, version in versions.items()}
    experiment = experiment_file(configured_experiment)
    before = serving if only is not None else None
    return ReleasePlan(
        versions={**(before.versions if before else {}), **versions},
        origins={**(before.origins if before else {}), **origins},
        fresh=list(versions),
        fresh_experiment=True,
        experiment=None if experiment is None else str(experiment),
        earlier=_grown(serving, versions, keep_others=only is not None),
    )


def plan_rollback(models_dir: Path, model: str, *, serving: ReleasePlan) -> ReleasePlan:
    """Go back to the version of a model that was served before; all else stays.

    Raises:
        NotReleasedError: The model is not served.
        ReleaseRefusedError: None was served before, or it is kept no longer.
    """
    if model not in serving.versions:
        raise NotReleasedError(f"there is no model {model!r}; served are {_list(serving.versions)}")
    earlier = serving.earlier.get(model, ())
    folder = models_dir / model
    if not earlier:
        raise ReleaseRefusedError(
            f"{model} has served no other version here before {serving.versions[model]}; to serve "
            f"one of {folder / VERSIONS_FOLDER}, write its name into {folder / CURRENT_FILE} and "
            "reload"
        )
    version = earlier[-1]
    if version not in versions_of(folder):
        raise ReleaseRefusedError(
            f"{folder / VERSIONS_FOLDER / version} is kept no longer; there are "
            f"{_list(versions_of(folder))}: write one into {folder / CURRENT_FILE} and reload"
        )
    return ReleasePlan(
        versions={**serving.versions, model: version},
        origins={**serving.origins, model: _origin(folder, version)},
        fresh=[model],
        experiment=serving.experiment,
        fresh_experiment=False,
        earlier={**serving.earlier, model: earlier[:-1]},
    )


def _grown(
    serving: ReleasePlan | None, versions: Mapping[str, str], *, keep_others: bool
) -> Mapping[str, Sequence[str]]:
    """Note each version that is replaced."""
    if serving is None:
        return {}
    found = dict(serving.earlier) if keep_others else {}
    for model, version in versions.items():
        served = serving.versions.get(model, version)
        last = () if served == version else (served,)
        others = [old for old in serving.earlier.get(model, ()) if old != version]
        found[model] = [*others, *last][-KEPT_VERSIONS:]
    return found


def _origin(folder: Path, version: str) -> str:
    return str(folder / VERSIONS_FOLDER / version)


def _list(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(names) or "none"
