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

    Two descriptors of one process exclude each other as two processes do, so one mechanism serves both. Its holder may
    delete the file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while (descriptor := taken(path)) is None:  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


def taken(path: pathlib.Path) -> int | None:
    """The descriptor that holds the lock, when it is free; never of a file that was deleted, which others do not see."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    is_held = False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_held = os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not is_held:
            os.close(descriptor)
    return descriptor if is_held else None
