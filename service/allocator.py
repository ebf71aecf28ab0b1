"""What a process asks of glibc's allocator; where the system has another, nothing happens."""

import ctypes
import gc

_ARENA_MAX = -8
"""``M_ARENA_MAX`` in glibc's ``malloc.h``."""


def give_memory_back() -> None:
    """Return to the system what loading the models has used and freed.

    The allocator would keep it for later, and until the next release nobody needs so much at once.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def share_one_arena() -> None:
    """Let all threads take memory from one place; called before they start.

    Each would get an arena of its own otherwise, and jobs that move from thread to thread leave the
    most that any of them ever used in every one.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_ARENA_MAX, 1)
