"""Gives the room at the old ends of raw files back to the disk."""

import dataclasses
import os
import pathlib

from node_agent import raw_log
from node_agent.model.log_index import Entry
from node_agent.supervisor.loop import note


@dataclasses.dataclass(frozen=True, slots=True)
class OldEnd:
    """The first `end` bytes of the raw file at `path` go; `is_open`: programs write to it."""

    path: pathlib.Path
    end: int
    is_open: bool


def punch(old: OldEnd) -> None:
    """Make it hollow. Called beside the loop; what cannot be done is written down.

    In one call, for each waits for the file's lock, and a flood holds that most of the time; what is hollow already costs
    nothing. A closed file stays as old as it was: its age tells when it was written to.
    """
    try:
        _punch(old)
    except OSError as error:
        note("log.not_punched", file=old.path.name, error=error)


def _punch(old: OldEnd) -> None:
    fd = os.open(old.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        before = os.fstat(fd)
        raw_log.punch(fd, 0, old.end)
        if not old.is_open:
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(fd)


def holds(path: pathlib.Path, entry: Entry) -> bool:
    """Whether the raw file still holds `entry`."""
    try:
        file = raw_log.RawFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except FileNotFoundError:
        return False
    try:
        return file.holds(entry)
    finally:
        file.close()
