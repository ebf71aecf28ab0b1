"""Models on disk: what is served together is kept together, checked, and replaced in one step.

``models/<name>/versions/<version>/`` holds the model, its features, its baseline and a metadata
file with the checksums of the other three; ``models/<name>/CURRENT`` names the version served.
A version is written under a temporary name and renamed, and CURRENT is replaced last, so that a
crash at any moment leaves the version that was current loadable.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from service.formats import written_later
from service.monitoring.baseline import Baseline
from service.monitoring.stored_fields import MALFORMED
from service.prediction.durable import make_durable, only_writer, write_durably
from service.prediction.features import FeatureEncoder
from service.prediction.model import VERSION, Model, ModelBundle, ModelMetadata
from service.prediction.model_kinds import MODEL_KINDS

METADATA_FORMAT = 1
KEPT_VERSIONS = 3

FEATURES_FILE, BASELINE_FILE, METADATA_FILE = "features.json", "baseline.json", "metadata.json"
CURRENT_FILE, VERSIONS_FOLDER = "CURRENT", "versions"
_UNFINISHED = ".unfinished"

_LOGGER = logging.getLogger(__name__)


class ModelFolderError(Exception):
    """A model folder is damaged or its parts do not belong together; names file and fix."""


def write_bundle(models_dir: Path, bundle: ModelBundle) -> Path:
    """Write a version, make it the current one, and keep the newest ``KEPT_VERSIONS``.

    Returns:
        The version's folder.

    Raises:
        OSError: The folder cannot be written; the version that was current still is.
    """
    folder = models_dir / bundle.name
    versions = folder / VERSIONS_FOLDER
    target, unfinished = versions / bundle.version, versions / _UNFINISHED
    versions.mkdir(parents=True, exist_ok=True)
    with only_writer(versions):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name, content in _files(bundle).items():
            write_durably(unfinished / name, content)
        make_durable(unfinished)
        if target.exists():  # the same second and content, so the name was no accident
            shutil.rmtree(target)
        unfinished.rename(target)
        make_durable(versions)
        make_current(folder, bundle.version)
        for version in versions_of(folder)[KEPT_VERSIONS:]:
            if version != bundle.version:
                shutil.rmtree(versions / version)
    return target


def make_current(folder: Path, version: str) -> None:
    """Serve ``version`` of the model in ``folder`` from the next load on.

    Raises:
        ModelFolderError: That version is not there.
    """
    if version not in versions_of(folder):
        kept = ", ".join(versions_of(folder)) or "none"
        raise ModelFolderError(f"{folder} has no version {version!r}; it has {kept}")
    pointer = folder / f".{CURRENT_FILE}"
    write_durably(pointer, f"{version}\n".encode())
    pointer.replace(folder / CURRENT_FILE)
    make_durable(folder)


def versions_of(folder: Path) -> tuple[str, ...]:
    """Name the versions kept in ``folder``, the newest first."""
    names = (path.name for path in (folder / VERSIONS_FOLDER).glob("*"))
    return tuple(sorted((name for name in names if VERSION.fullmatch(name)), reverse=True))


def load_models(models_dir: Path) -> Mapping[str, ModelBundle]:
    """Load the current version of every model under ``models_dir``, by name.

    Raises:
        ModelFolderError: There is no model, or one of them is damaged.
    """
    encoders: dict[str, FeatureEncoder] = {}
    return {
        folder.name: load_version(folder, current_version(folder), encoders)
        for folder in model_folders(models_dir)
    }


def model_folders(models_dir: Path) -> Sequence[Path]:
    """List the folders of models under ``models_dir``, by name.

    Raises:
        ModelFolderError: There is no model.
    """
    folders = sorted(pointer.parent for pointer in models_dir.glob(f"*/{CURRENT_FILE}"))
    if not folders:
        raise ModelFolderError(f"{models_dir} holds no model; run scripts/train_models.py")
    return folders


def load_bundle(folder: Path) -> ModelBundle:
    """Load the current version of the model in ``folder``, which is ``models/<name>``.

    Raises:
        ModelFolderError: A file is missing, damaged, or belongs to another model.
    """
    return load_version(folder, current_version(folder))


def current_version(folder: Path) -> str:
    """Name the version that the model in ``folder`` is to be served with.

    Raises:
        ModelFolderError: It is not said, or not there.
    """
    version = _read(folder / CURRENT_FILE).decode(errors="replace").strip()
    if version not in versions_of(folder):
        raise ModelFolderError(
            f"{folder / CURRENT_FILE} names the version {version!r}, which is not there; "
            "write a version of the versions folder into it, or train again"
        )
    return version


def load_version(
    folder: Path, version: str, encoders: MutableMapping[str, FeatureEncoder] | None = None
) -> ModelBundle:
    """Load one version of the model in ``folder``, for instance to roll back to it.

    Args:
        folder: ``models/<name>``.
        version: Its name.
        encoders: By the checksum of their file, those that were loaded with other models; this
            one joins them. Models trained together have equal ones, which are large.

    Raises:
        ModelFolderError: A file is missing, damaged, or belongs to another model.
    """
    home = folder / VERSIONS_FOLDER / version
    try:
        metadata = json.loads(_read(home / METADATA_FILE))
        if metadata["format"] > METADATA_FORMAT:
            raise ModelFolderError(
                written_later(
                    str(home / METADATA_FILE),
                    form="metadata format",
                    found=metadata["format"],
                    known=METADATA_FORMAT,
                    instead="train again, or roll back to an earlier version",
                )
            )
        kind = _kind(metadata, name=folder.name, version=version)
        checksums = metadata["sha256"]
        model = kind.from_bytes(_checked(home / kind.file_name, checksums))
        if model.evaluator.fallback_reason:
            _LOGGER.warning(
                "%s %s is scored by %s alone, which is slower for single requests: %s",
                folder.name,
                version,
                *model.evaluator,
            )
        return ModelBundle(
            name=folder.name,
            version=version,
            model=model,
            encoder=_encoder(home, checksums, {} if encoders is None else encoders),
            baseline=Baseline.from_json(_checked(home / BASELINE_FILE, checksums).decode()),
            metadata=_metadata(metadata),
        )
    except KeyError as error:
        raise ModelFolderError(_damaged(home / METADATA_FILE, f"{error} is missing")) from error
    except (ValueError, *MALFORMED) as error:
        raise ModelFolderError(_damaged(home, str(error))) from error


def verify_version(folder: Path, version: str) -> None:
    """Compare every file of a version with its checksum, without loading it.

    Raises:
        ModelFolderError: A file is missing or damaged.
    """
    home = folder / VERSIONS_FOLDER / version
    try:
        checksums = json.loads(_read(home / METADATA_FILE))["sha256"]
        for name in checksums:
            _checked(home / name, checksums)
    except KeyError as error:
        raise ModelFolderError(_damaged(home / METADATA_FILE, f"{error} is missing")) from error
    except (ValueError, *MALFORMED) as error:
        raise ModelFolderError(_damaged(home, str(error))) from error


def _encoder(
    home: Path, checksums: Mapping[str, str], encoders: MutableMapping[str, FeatureEncoder]
) -> FeatureEncoder:
    content, checksum = _checked(home / FEATURES_FILE, checksums), checksums[FEATURES_FILE]
    if checksum not in encoders:
        encoders[checksum] = FeatureEncoder.from_json(content.decode())
    return encoders[checksum]


def _files(bundle: ModelBundle) -> Mapping[str, bytes]:
    contents = {
        bundle.model.file_name: bundle.model.to_bytes(),
        FEATURES_FILE: bundle.encoder.to_json().encode(),
        BASELINE_FILE: bundle.baseline.to_json().encode(),
    }
    metadata = {
        "format": METADATA_FORMAT,
        "name": bundle.name,
        "version": bundle.version,
        "kind": bundle.model.kind,
        **asdict(bundle.metadata),
        "created_at": bundle.metadata.created_at.isoformat(),
        "sha256": {name: _sha256(content) for name, content in contents.items()},
    }
    return {**contents, METADATA_FILE: json.dumps(metadata, indent=1, allow_nan=False).encode()}


def _kind(metadata: Mapping[str, Any], *, name: str, version: str) -> type[Model]:
    if metadata["format"] != METADATA_FORMAT:
        raise ValueError(f"metadata format {metadata['format']} is not {METADATA_FORMAT}")
    if (metadata["name"], metadata["version"]) != (name, version):
        raise ValueError(f"the metadata describes {metadata['name']} {metadata['version']}")
    if metadata["kind"] not in MODEL_KINDS:
        known = ", ".join(MODEL_KINDS)
        raise ValueError(f"the kind {metadata['kind']!r} is none of {known}")
    return MODEL_KINDS[metadata["kind"]]


def _metadata(content: Mapping[str, Any]) -> ModelMetadata:
    return ModelMetadata(
        created_at=datetime.fromisoformat(content["created_at"]),
        data_description=content["data_description"],
        train_rows=content["train_rows"],
        validation_rows=content["validation_rows"],
        validation_metrics=content["validation_metrics"],
        library_versions=content["library_versions"],
        parameters=content.get("parameters", {}),
    )


def _checked(path: Path, checksums: Mapping[str, str]) -> bytes:
    content = _read(path)
    if _sha256(content) != checksums[path.name]:
        raise ModelFolderError(_damaged(path, "its checksum is not that of the metadata"))
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFolderError(_damaged(path, error.strerror or str(error))) from error


def _damaged(path: Path, reason: str) -> str:
    return f"{path} cannot be used: {reason}; train again, or roll back to an earlier version"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
