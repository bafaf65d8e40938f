"""Gives the room at the old ends of raw files back to the disk, a piece at a time."""

import os
import pathlib
from collections.abc import Callable

from node_agent import raw_log
from node_agent.model.log_blocks import BLOCK
from node_agent.model.log_index import Entry
from node_agent.supervisor.loop import note
from node_agent.supervisor.turns import Turns

PIECE = 2 << 20  # bytes punched in one turn

Ends = list[tuple[pathlib.Path, int]]


class Holes:
    """Holes at the old ends of raw files, made piece by piece; then `done`."""

    def __init__(self, turns: Turns, ends: Ends, done: Callable[[], None]) -> None:
        self._turns, self._ends, self._done = turns, ends, done
        self._at = 0

    def punch(self) -> None:
        path, end = self._ends[-1]
        try:
            self._at = _punch_piece(path, self._at, end)
        except OSError as error:
            note("log.not_punched", file=path.name, error=error)
            self._at = end
        if self._at >= end:
            self._ends.pop()
            self._at = 0
        if self._ends:
            self._turns.add(self.punch)
        else:
            self._done()


def _punch_piece(path: pathlib.Path, at: int, end: int) -> int:
    """Up to where the hole goes now. The file stays as old as it was: its age tells when it was written to."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        start = max(at, raw_log.first_data(fd, at) // BLOCK * BLOCK)
        if start < end:
            before = os.fstat(fd)
            raw_log.punch(fd, start, min(end, start + PIECE))
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        return start + PIECE
    finally:
        os.close(fd)


def holds(path: pathlib.Path, entry: Entry) -> bool:
    """Whether the raw file still holds `entry`."""
    try:
        file = raw_log.RawFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except FileNotFoundError:
        return False
    try:
        return file.lines(entry) is not None
    finally:
        file.close()
