"""What is free goes back to the system.

A password's hash takes 19 MiB for a moment. By itself the allocator learns from the first such block to keep the next ones, in
an area of each thread, for good.
"""

import contextlib
import ctypes

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # see mallopt(3)
LARGE_BYTES = 1 << 20
AREAS = 2


def give_back() -> None:
    """From here on in this process. Nothing happens where the C library has no such setting."""
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_ARENA_MAX, AREAS)
