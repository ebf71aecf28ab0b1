"""Disks of a few MB that a test can fill, make read-only and slow down."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_server import wait_until

_BLOCK = b"\0" * 4096
_MOUNT, _UNMOUNT = "/bin/mount", "/bin/umount"


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    """Mount a file system in memory at ``folder``; who may not mount skips, in CI it fails."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run([_UNMOUNT, "--lazy", str(folder)], check=True)


@contextmanager
def failing_disk(folder: Path, image: Path) -> Iterator[Path]:
    """Mount the ext4 file system in ``image``, which is made on first use, at ``folder``."""
    folder.mkdir(exist_ok=True)
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["/sbin/mkfs.ext4", "-q", str(image)], check=True)
    _mount("-o", "loop", str(image), str(folder))
    try:
        yield folder
    finally:
        subprocess.run([_UNMOUNT, str(folder)], check=True)


def turn_read_only(folder: Path) -> None:
    """Do what the kernel does when a disk fails to be written."""
    subprocess.run([_MOUNT, "-o", "remount,abort", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write while the block runs; nobody has a file open for it."""
    subprocess.run([_MOUNT, "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run([_MOUNT, "-o", "remount,rw", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no block of the disk free while the block runs."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(_BLOCK)
        assert os.statvfs(folder).f_bavail == 0
        yield
    finally:
        filler.unlink()


@contextmanager
def slow_disk(strace: str, pids: Sequence[int], *, seconds: float) -> Iterator[None]:
    """Let everything that waits for the disk take so much longer in these processes."""
    microseconds = round(seconds * 1e6)
    attached = [option for pid in pids for option in ("--attach", str(pid))]
    calls = "fsync,fdatasync"
    process = subprocess.Popen(
        [
            *(strace, "--follow-forks", "--quiet=all", "--output=/dev/null"),
            *(f"--trace={calls}", f"--inject={calls}:delay_enter={microseconds}"),
            *attached,
        ]
    )
    try:
        wait_until(
            lambda: all(_traced(pid) for pid in pids), seconds=20, what="the disk becomes slow"
        )
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _traced(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)


def _mount(*arguments: str) -> None:
    done = subprocess.run([_MOUNT, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    reason = f"a test that fills a disk must be root and may mount one: {done.stderr.strip()}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
