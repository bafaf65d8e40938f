"""Wake-ups for files that grow, from the kernel. Used by the log indexer (to write) and the log reader (to follow)."""

import ctypes
import errno
import os
import struct

IN_MODIFY = 0x00000002
IN_ATTRIB = 0x00000004
IN_DELETE_SELF = 0x00000400
IN_Q_OVERFLOW = 0x00004000
IN_ONESHOT = 0x80000000

_EVENT = struct.Struct("iIII")


class Inotify:
    """One kernel queue. `fileno()` is readable when something happened. Every method raises OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        return self._fd

    def add(self, path: str | os.PathLike[str], mask: int) -> int:
        """Watch the file at `path`; the same file has the same watch."""
        return self._checked(self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask))

    def remove(self, watch: int) -> None:
        """No-op for a watch that the kernel ended by itself."""
        if self._libc.inotify_rm_watch(self._fd, watch) < 0 and ctypes.get_errno() != errno.EINVAL:
            self._checked(-1)

    def read(self) -> list[tuple[int, int]]:
        """(watch, what happened) since the last call; empty when nothing did."""
        try:
            data = os.read(self._fd, 64 << 10)
        except BlockingIOError:
            return []
        events, at = [], 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            events.append((watch, mask))
            at += _EVENT.size + length
        return events

    def close(self) -> None:
        os.close(self._fd)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
