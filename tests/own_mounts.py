"""A file system of a test's own: mounted in a namespace that one thread lives in, and gone with it, however the test ends."""

import ctypes
import os
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18

T = TypeVar("T")


def mounted(kind: str, directory: pathlib.Path, options: str, work: Callable[[pathlib.Path], T]) -> T:
    """What `work` returns or raises, in a thread that has a new file system of that kind at `directory`, as all that it
    starts. Only for root.

    A thread and no child: what we fork would take over locks that other threads hold just then.
    """

    def inside() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(CLONE_NEWNS) == 0
        assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        assert libc.mount(kind.encode(), os.fsencode(directory), kind.encode(), 0, options.encode()) == 0
        return work(directory)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(inside).result()
