"""What is asked of glibc's allocator, by its own account."""

import subprocess
import sys

import pytest
from service_process import ROOT

ALLOCATE_ON_THREADS = """
import ctypes, sys, threading
from service.allocator import share_one_arena

if sys.argv[1] == "shared":
    share_one_arena()
together = threading.Barrier(4)

def work():
    together.wait()
    held = [bytearray(2000) for _ in range(100)]
    together.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.parametrize(("how", "one"), [("shared", True), ("as usual", False)])
def test_threads_that_share_an_arena_get_none_of_their_own(how: str, *, one: bool) -> None:
    told = subprocess.run(
        [sys.executable, "-c", ALLOCATE_ON_THREADS, how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert (told.count("<heap nr=") == 1) is one
