import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.prediction.signing_keys import InvalidSigningKeyError, signing_key, signing_keys


def test_the_key_file_is_its_owner_s_alone_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "state" / "signing.key"
    key = signing_key(None, file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(key) == 32
    assert signing_key(None, file) == key
    assert [p.name for p in file.parent.iterdir()] == ["signing.key"]


def test_an_empty_key_file_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "signing.key").touch()

    with pytest.raises(InvalidSigningKeyError, match=r"holds 0 bytes, not 32; restore it"):
        signing_key(None, tmp_path / "signing.key")


def test_processes_that_start_together_use_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: signing_key(None, tmp_path / "signing.key"), range(8)))

    assert len(keys) == 1


def test_a_configured_key_is_shared_without_a_file(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"

    assert signing_key("s" * 32, file) == signing_key("s" * 32, tmp_path / "elsewhere")
    assert signing_key("t" * 32, file) != signing_key("s" * 32, file)
    assert not file.exists()


def test_a_key_that_was_moved_aside_is_still_taken_and_a_new_one_signs(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    (first,) = signing_keys(None, None, file)
    file.rename(tmp_path / "signing.key.before")

    now, before = signing_keys(None, None, file)

    assert before == first
    assert now != first
    assert signing_keys(None, None, file) == (now, before)


def test_a_configured_key_before_is_the_one_that_signed(tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 32
    (signed,) = signing_keys(old, None, tmp_path / "signing.key")

    assert signing_keys(new, old, tmp_path / "signing.key")[1] == signed
