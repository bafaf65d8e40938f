"""A file system of a test's own: mounted in a namespace that a child lives in, and gone with it, however the test ends."""

import ctypes
import os
import pathlib
import pickle
import traceback
from collections.abc import Callable
from typing import Any

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def mounted(kind: str, directory: pathlib.Path, options: str, work: Callable[[pathlib.Path], Any]) -> Any:
    """What `work` returns, done by a child that has a new file system of that kind at `directory`. Only for root."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reader)
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(CLONE_NEWNS) == 0
            assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
            assert libc.mount(kind.encode(), os.fsencode(directory), kind.encode(), 0, options.encode()) == 0
            with open(writer, "wb") as file:
                pickle.dump(work(directory), file)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    assert data, "the child failed; what it wrote says why"
    return pickle.loads(data)
