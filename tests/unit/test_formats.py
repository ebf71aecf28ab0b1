"""What is kept in files says of which format it is; the state and the models have theirs tested."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.keeping.backup import Manifest
from bridge.keeping.run_archive import ArchivedRun
from bridge.keeping.sealed_files import read_sealed, write_sealed
from bridge.keeping.stored_runs import DamagedHistoryError
from service import __version__
from service.telemetry.folder import METRICS_FORMAT, MetricsFolder


@dataclass(frozen=True)
class Later:
    """What a later release may write, of which this one knows nothing but its format."""

    format: str
    novelty: int = 1


@pytest.mark.parametrize(
    ("kind", "known"), [(ArchivedRun, "ctr-run-archive 1"), (Manifest, "ctr-history-backup 1")]
)
def test_an_archive_of_a_later_format_is_refused_with_both_formats_and_the_fix(
    tmp_path: Path, kind: type[ArchivedRun | Manifest], known: str
) -> None:
    file = tmp_path / "meta.json"
    write_sealed(file, Later(known[:-1] + "2"))

    with pytest.raises(DamagedHistoryError) as refused:
        read_sealed(file, kind)

    said = str(refused.value)
    assert all(part in said for part in (f"{known[:-1]}2", known, __version__, "use the release"))


def test_metrics_say_of_which_format_they_are(tmp_path: Path) -> None:
    folder = MetricsFolder.begin(tmp_path, 1.0)

    assert folder.format == METRICS_FORMAT


@pytest.mark.parametrize("content", [None, "", "\0\0"])
def test_metrics_that_do_not_say_it_are_of_the_first_format(
    tmp_path: Path, content: str | None
) -> None:
    folder = MetricsFolder.begin(tmp_path, 1.0)
    file = folder.path / "format"
    file.unlink()
    if content is not None:
        file.write_text(content)

    assert folder.format == 1
