"""A lock on a name, within this process and against other processes; the kernel frees it with its holder."""

import asyncio
import contextlib
import fcntl
import os
import pathlib
from collections.abc import AsyncIterator

POLL_S = 0.05


@contextlib.asynccontextmanager
async def locked(path: pathlib.Path) -> AsyncIterator[None]:
    """Hold the lock file `path`. Waiting can be cancelled, so it asks again and again instead of blocking a thread.

    Two descriptors of one process exclude each other as two processes do, so one mechanism serves both.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while not _try(descriptor):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
