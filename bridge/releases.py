"""A record of every trained model: parameters, quality, baseline and the model itself.

Training writes a folder and waits for nobody; the bridge finds it there.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bridge.runs import release_key
from service.monitoring.tracking import Entry, EntryKind, Point, RunKind, TrackedRun
from service.state.outbox import Outbox

_METADATA_FILES = "*/versions/*Z-*/metadata.json"

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A model version as training left it."""

    run: TrackedRun
    entry: Entry

    @classmethod
    def read(cls, metadata_file: Path) -> "Release":
        """Read a version's folder.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not what training writes.
        """
        content = json.loads(metadata_file.read_text())
        try:
            name, version = str(content["name"]), str(content["version"])
            created = datetime.fromisoformat(content["created_at"])
            quality = {str(key): float(v) for key, v in content["validation_metrics"].items()}
            params = {
                "kind": content["kind"],
                "data": content["data_description"],
                "train_rows": content["train_rows"],
                "validation_rows": content["validation_rows"],
                **content.get("parameters", {}),
                **{f"{key}_version": v for key, v in content["library_versions"].items()},
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{metadata_file} is no metadata of a model: {error!r}") from error
        at = int(created.timestamp() * 1000)
        run = TrackedRun(
            key=release_key(name, version),
            kind=RunKind.RELEASE,
            name=f"{name} {version} release",
            model_name=name,
            model_version=version,
            day=created.date().isoformat(),
            start_ms=at,
            tags={"model_name": name, "model_version": version, "ctr.kind": RunKind.RELEASE.value},
        )
        entry = Entry(
            run_key=run.key,
            kind=EntryKind.RELEASE,
            step=0,
            points=[Point(f"validation/{key}", value, at, 0) for key, value in quality.items()],
            params={key: str(value) for key, value in params.items()},
            files=sorted(str(file.absolute()) for file in metadata_file.parent.iterdir()),
            end_ms=at,
        )
        return cls(run=run, entry=entry)


def freeze_releases(models_dir: Path, outbox: Outbox, *, at: float) -> int:
    """Put every model version that is new into the outbox; returns how many."""
    found = list(_new_releases(models_dir, outbox))
    for release in found:
        outbox.freeze([release.run], [release.entry], at=at)
    return len(found)


def _new_releases(models_dir: Path, outbox: Outbox) -> Iterator[Release]:
    for metadata_file in sorted(models_dir.glob(_METADATA_FILES)):
        version, name = metadata_file.parent.name, metadata_file.parents[2].name
        if outbox.knows(release_key(name, version)):
            continue
        try:
            yield Release.read(metadata_file)
        except (OSError, ValueError) as error:
            _LOGGER.warning("a trained model cannot be recorded: %s", error)
