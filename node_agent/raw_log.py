"""Raw log files as the disk holds them: plain, compressed in blocks, or with a hole at the old end.

Shared by the supervisor, which makes the holes, and the agent, which reads around them.
"""

import ctypes
import errno
import os

from node_agent.model import log_blocks, log_index
from node_agent.model.log_blocks import BLOCK
from node_agent.model.log_index import Entry

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_SCAN = log_index.SIZE * 64


class RawFile:
    """One raw file, open for reading. Entries that share a compressed block cost one unpacking."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._cached: tuple[int, bytes] = (-1, b"")

    def close(self) -> None:
        os.close(self._fd)

    def lines(self, entry: Entry) -> list[bytes] | None:
        """The lines of `entry`; None when the file no longer holds them. Raises OSError."""
        data = self._data(entry)
        return None if data is None else log_index.split_lines(data)

    def holds(self, entry: Entry) -> bool:
        """Whether the bytes of `entry` are still there. Raises OSError."""
        return self._data(entry) is not None

    def _data(self, entry: Entry) -> bytes | None:
        data = os.pread(self._fd, entry.length, entry.offset)
        if not log_index.is_of(entry, data) and entry.length and not entry.gap:
            data = self._unpacked(entry)
        return data if log_index.is_of(entry, data) else None

    def _unpacked(self, entry: Entry) -> bytes:
        first, last = entry.offset // BLOCK, (entry.offset + entry.length - 1) // BLOCK
        start = entry.offset - first * BLOCK
        return b"".join(self._block(number) for number in range(first, last + 1))[start : start + entry.length]

    def _block(self, number: int) -> bytes:
        if self._cached[0] != number:
            data = os.pread(self._fd, BLOCK, number * BLOCK)
            unpacked = log_blocks.unpack(data)
            if unpacked is None:
                return data
            self._cached = (number, unpacked)
        return self._cached[1]


def first_entry(index: int) -> int:
    """The number of the first entry of an open index that was not given up. Raises OSError."""
    at = first_data(index, 0) // log_index.SIZE
    while data := os.pread(index, _SCAN, at * log_index.SIZE):
        stripped = data.lstrip(b"\0")
        at += (len(data) - len(stripped)) // log_index.SIZE
        if stripped:
            break
    return at


def first_data(fd: int, start: int) -> int:
    """Where the first byte from `start` on stands that is not in a hole; the file's size when there is none."""
    try:
        return os.lseek(fd, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(fd).st_size


def punch(fd: int, start: int, end: int) -> None:
    """Give the room of these bytes back; they read as zeros, and no other byte moves. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    offset, length = ctypes.c_int64(start), ctypes.c_int64(end - start)
    if libc.fallocate64(fd, _KEEP_SIZE | _PUNCH_HOLE, offset, length) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def can_punch(directory: os.PathLike[str]) -> bool:
    """Whether the file system of `directory` takes holes."""
    try:
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        os.write(fd, b"\0" * (2 * log_blocks.PAGE))
        punch(fd, 0, log_blocks.PAGE)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
