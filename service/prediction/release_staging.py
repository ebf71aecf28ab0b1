"""One generation on disk: copies of its models and of its experiment, verified and loaded."""

import os
import shutil
from pathlib import Path

from service.monitoring.counts import ModelVersion
from service.prediction.durable import make_durable, write_durably
from service.prediction.experiment import Experiment, ExperimentError
from service.prediction.features import FeatureEncoder
from service.prediction.model import ModelBundle
from service.prediction.model_folder import (
    VERSIONS_FOLDER,
    ModelFolderError,
    current_version,
    load_version,
    make_current,
    model_folders,
    verify_version,
)
from service.prediction.release import Release, ReleaseRefusedError, try_out
from service.prediction.release_plan import ReleasePlan

_PLAN, _EXPERIMENT, _MODELS = "plan.json", "experiment.toml", "models"


def stage(plan: ReleasePlan, home: Path, *, served: Path | None) -> None:
    """Copy everything that a plan names into the folder ``home``.

    Args:
        plan: What to copy.
        home: Folder of the new generation.
        served: Folder of the generation that is served, for what stays; None where nothing does.

    Raises:
        ReleaseRefusedError: Something that the plan names is not there, or damaged.
    """
    for model in plan.versions:
        _stage_model(plan, model, home, served)
    if plan.experiment is not None:
        _stage_experiment(plan, home, served)
    write_durably(home / _PLAN, plan.to_json().encode())
    make_durable(home)


def read_plan(home: Path) -> ReleasePlan:
    """Read where the parts of a generation came from.

    Raises:
        OSError: It is not there.
        ValueError: It is damaged.
    """
    return ReleasePlan.from_json((home / _PLAN).read_text())


def load_staged(home: Path, generation: int, known: Release | None) -> Release:
    """Load a generation and try every model that ``known`` does not hold already.

    Raises:
        ReleaseRefusedError: It is damaged; the message names the file that it was copied from.
    """
    loaded = {} if known is None else known.by_version
    plan = read_plan(home)
    encoders: dict[str, FeatureEncoder] = {}
    try:
        bundles = {
            folder.name: loaded.get(ModelVersion(folder.name, current_version(folder)))
            or _tried(folder, plan.versions[folder.name], encoders)
            for folder in model_folders(home / _MODELS)
        }
        experiment = (
            Experiment.load(home / _EXPERIMENT, models=list(bundles))
            if plan.experiment is not None
            else Experiment.of_one(list(bundles))
        )
    except (ModelFolderError, ExperimentError) as error:
        raise ReleaseRefusedError(_at_origin(str(error), home, plan)) from error
    return Release(generation=generation, bundles=bundles, experiment=experiment)


def _stage_model(plan: ReleasePlan, model: str, home: Path, served: Path | None) -> None:
    folder = home / _MODELS / model
    version, origin = plan.versions[model], Path(plan.origins[model])
    target = folder / VERSIONS_FOLDER / version
    if served is not None and model not in plan.fresh:
        shutil.copytree(served / target.relative_to(home), target, copy_function=_link)
    else:
        try:
            shutil.copytree(origin, target)
            verify_version(folder, version)
        except (OSError, shutil.Error) as error:
            raise ReleaseRefusedError(
                f"{origin} cannot be copied ({error}); train again, or roll back"
            ) from error
        except ModelFolderError as error:
            raise ReleaseRefusedError(_at_origin(str(error), home, plan)) from error
    make_current(folder, version)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # Many network mounts have no links.
        shutil.copy2(source, target)


def _stage_experiment(plan: ReleasePlan, home: Path, served: Path | None) -> None:
    stays = served is not None and not plan.fresh_experiment
    source = served / _EXPERIMENT if served and stays else Path(plan.experiment or "")
    try:
        write_durably(home / _EXPERIMENT, source.read_bytes())
    except OSError as error:
        raise ReleaseRefusedError(f"{source}: {error.strerror}") from error


def _tried(folder: Path, version: str, encoders: dict[str, FeatureEncoder]) -> ModelBundle:
    bundle = load_version(folder, version, encoders)
    try_out(bundle)
    return bundle


def _at_origin(message: str, home: Path, plan: ReleasePlan) -> str:
    """Name the files that people know instead of their copies."""
    for model, version in plan.versions.items():
        copy = home / _MODELS / model / VERSIONS_FOLDER / version
        message = message.replace(str(copy), plan.origins[model])
    return message.replace(str(home / _EXPERIMENT), plan.experiment or "")
