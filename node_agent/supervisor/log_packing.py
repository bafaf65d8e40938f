"""Compresses raw files that nobody writes to any more, one block at a time and one file after the other.

The compressed file is written beside the raw one and takes its place whole, once it is on the disk.
"""

import collections
import os
import pathlib
from collections.abc import Callable

from node_agent import raw_log
from node_agent.model import log_blocks
from node_agent.model.log_blocks import BLOCK
from node_agent.supervisor.loop import Loop, note

PACE_S = 0.01  # between two blocks: a block takes less than a millisecond
SETTLE_S = 5.0  # in which the kernel writes what it was given, before we wait for it


class Packing:
    """A file that was done, or that compression does not make smaller, is left alone until it changes."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: collections.deque[tuple[pathlib.Path, Callable[[], bool]]] = collections.deque()
        self._done: dict[pathlib.Path, int] = {}
        self._copy: _Copy | None = None

    def add(self, path: pathlib.Path, is_wanted: Callable[[], bool]) -> None:
        """Compress `path` when its turn comes, if it `is_wanted` then and until the end. Raises OSError."""
        size = path.stat().st_size
        if size < BLOCK or self._done.get(path) == size:
            return
        self._done[path] = size
        self._waiting.append((path, is_wanted))
        if self._copy is None:
            self._begin()

    def _begin(self) -> None:
        self._copy = None
        while self._waiting and self._copy is None:
            path, is_wanted = self._waiting.popleft()
            try:
                self._copy = _Copy(path, is_wanted)
            except FileNotFoundError:
                self._done.pop(path, None)
            except OSError as error:
                note("log.not_packed", file=path.name, error=error)
        if self._copy is not None:
            self._loop.later(PACE_S, self._step)

    def _step(self) -> None:
        copy = self._copy
        if copy is None:
            return
        try:
            if copy.copy_block():
                self._loop.later(PACE_S, self._step)
            else:
                self._loop.later(SETTLE_S, lambda: self._finish(copy))
        except OSError as error:
            self._give_up(copy, error)

    def _finish(self, copy: "_Copy") -> None:
        try:
            copy.replace()
        except OSError as error:
            self._give_up(copy, error)
        else:
            copy.close()
            self._begin()

    def _give_up(self, copy: "_Copy", error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # it was deleted meanwhile
            note("log.not_packed", file=copy.path.name, error=error)
        copy.close()
        self._begin()


class _Copy:
    """One file on its way. Every method raises OSError."""

    def __init__(self, path: pathlib.Path, is_wanted: Callable[[], bool]) -> None:
        self.path, self._is_wanted = path, is_wanted
        self._new = path.with_name(f".{path.name}.new")
        self._from = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._before = os.fstat(self._from)
        self._at = 0
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._to = os.open(self._new, flags, self._before.st_mode & 0o777)
        except OSError:
            os.close(self._from)
            raise

    def copy_block(self) -> bool:
        """The next block, compressed unless it is that already or would not be smaller; False when all are done."""
        self._at = raw_log.first_data(self._from, self._at) // BLOCK * BLOCK
        block = os.pread(self._from, BLOCK, self._at)
        if len(block) == BLOCK:
            if log_blocks.unpack(block) is not None:
                block = block[: log_blocks.size(block)]
            else:
                block = log_blocks.pack(block) or block
        os.pwrite(self._to, block, self._at)
        os.posix_fadvise(self._to, self._at, BLOCK, os.POSIX_FADV_DONTNEED)  # begins to write it
        self._at += BLOCK
        return self._at < self._before.st_size

    def replace(self) -> None:
        """Put the copy in the place of the file, unless somebody wrote to that, deleted it, or made a hole in it."""
        os.ftruncate(self._to, self._before.st_size)
        os.fchown(self._to, self._before.st_uid, self._before.st_gid)
        os.utime(self._to, ns=(self._before.st_atime_ns, self._before.st_mtime_ns))
        os.fdatasync(self._to)
        now = self.path.stat()
        is_smaller = os.fstat(self._to).st_blocks < now.st_blocks
        if is_smaller and self._is_wanted() and _identity(now) == _identity(self._before):
            self._new.replace(self.path)

    def close(self) -> None:
        os.close(self._from)
        os.close(self._to)
        self._new.unlink(missing_ok=True)


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
