"""Keys that prediction ids are signed with: made on first use, replaced without losing a click."""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

_KEY_BYTES = 32
_BEFORE = ".before"


class InvalidSigningKeyError(ValueError):
    """What should be the key is none; the message says what to do."""


def signing_keys(
    configured: str | None, configured_before: str | None, file: Path
) -> tuple[bytes, ...]:
    """Give the key to sign with, then the one before, if any, whose ids may still come back.

    Each is the configured one, or in ``file`` or ``file`` with the ending `.before`.

    Raises:
        InvalidSigningKeyError: A file does not hold a key.
    """
    before = file.with_name(f"{file.name}{_BEFORE}")
    if configured_before is not None:
        return signing_key(configured, file), _derived(configured_before)
    return signing_key(configured, file), *((_read(before),) if before.exists() else ())


def signing_key(configured: str | None, file: Path) -> bytes:
    """Give the configured key, or the one in ``file``, which is made on first use.

    The file is readable by its owner alone. Making it is atomic: of two processes that start
    together both use the same key.

    Raises:
        InvalidSigningKeyError: The file does not hold a key.
    """
    if configured is not None:
        return _derived(configured)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, own = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)  # mode 0600
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_bytes(_KEY_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(own, file)
        except FileExistsError:
            pass
        finally:
            Path(own).unlink()
    return _read(file)


def _derived(configured: str) -> bytes:
    return hashlib.sha256(configured.encode()).digest()


def _read(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise InvalidSigningKeyError(
            f"{file} holds {len(key)} bytes, not {_KEY_BYTES}; restore it, or delete it: "
            "clicks for earlier predictions are then refused"
        )
    return key
