"""Every entry of a tree as it was when sealed: it shows later what an application changed, and what may be copied.

Trees belong to tenants: nothing here follows a link, and names may be any bytes.
"""

import dataclasses
import json
import os
import pathlib
import stat
from collections.abc import Callable, Iterable, Iterator

from node_agent.builder import threads
from node_agent.errors import ReleaseFailedError

CHUNK = 64 << 20  # short enough to be interrupted in between


class ChangedError(Exception):
    """A sealed tree is no longer what was sealed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """`path` is relative to the tree; `target` is what a link says. A directory's size and time do not count."""

    path: str
    mode: int
    size: int = 0
    mtime_ns: int = 0
    target: str = ""

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


def take(tree: pathlib.Path) -> tuple[Entry, ...]:
    """All entries, each directory before what it holds. Raises ReleaseFailedError for devices, FIFOs and sockets."""
    return tuple(_walk(tree))


def _walk(tree: pathlib.Path) -> Iterator[Entry]:
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        with os.scandir(tree / parent) as found:
            entries = sorted(found, key=lambda one: one.name)
        for one in entries:
            threads.check()
            path = os.path.join(parent, one.name)  # noqa: PTH118 - thousands of strings
            entry = _entry(path, one.path, one.stat(follow_symlinks=False))
            if entry.is_dir:
                waiting.append(path)
            yield entry


def _entry(path: str, where: str, info: os.stat_result) -> Entry:
    mode = info.st_mode
    if stat.S_ISDIR(mode):
        return Entry(path, mode)
    if stat.S_ISLNK(mode):
        return Entry(path, mode, target=os.readlink(where))  # noqa: PTH115 - thousands of strings
    if not stat.S_ISREG(mode):
        raise ReleaseFailedError(
            "special_file",
            f"cannot seal the release: {path[:200]} is a device, FIFO or socket; let the build remove it",
        )
    return Entry(path, mode, info.st_size, info.st_mtime_ns)


def below(entries: Iterable[Entry], directory: str, without: str = "") -> tuple[Entry, ...]:
    """The entries of a directory, itself included; `without` names a directory in it that is left out."""
    skipped = f"{directory}/{without}"
    return tuple(
        entry
        for entry in entries
        if (entry.path == directory or entry.path.startswith(f"{directory}/"))
        and not (without and (entry.path == skipped or entry.path.startswith(f"{skipped}/")))
    )


def copy(entries: Iterable[Entry], source: pathlib.Path, target: pathlib.Path, group: int = 0) -> None:
    """Write the entries of the sealed `source` into `target`. Raises ChangedError as soon as one is not as it was.

    Copies (shared blocks where the file system can): a build or an application that writes into a file in place would
    change another release through a hard link. Those of `group` can only read what was sealed for it: where a group is
    given, and no build follows, such files are linked. What an application added is not in the inventory and stays behind.
    """
    for entry in entries:
        threads.check()
        try:
            _copy_one(entry, source / entry.path, target / entry.path, group)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ChangedError(f"{entry.path} is gone") from error


def _copy_one(entry: Entry, source: pathlib.Path, target: pathlib.Path, group: int) -> None:
    if entry.is_link:
        if not source.is_symlink() or str(source.readlink()) != str(pathlib.Path(entry.target)):
            raise ChangedError(f"{entry.path} was changed")
        target.symlink_to(entry.target)
    elif entry.is_dir:
        target.mkdir(mode=stat.S_IMODE(entry.mode) | stat.S_IRWXU)
    elif not (group and _is_linked(entry, source, target, group)):
        _copy_file(entry, source, target)


def _is_linked(entry: Entry, source: pathlib.Path, target: pathlib.Path, group: int) -> bool:
    """Also False for what is not as it was, or may not be linked here: copying says so."""
    info = source.lstat()
    is_ours = info.st_uid == os.geteuid() and info.st_gid == group and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not is_ours or not _is_same(entry, info):
        return False
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # too many links, or a file system without
        return False
    return True


def _is_same(entry: Entry, info: os.stat_result) -> bool:
    return (info.st_mode, info.st_size, info.st_mtime_ns) == (entry.mode, entry.size, entry.mtime_ns)


def _copy_file(entry: Entry, source: pathlib.Path, target: pathlib.Path) -> None:
    try:
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ChangedError(f"{entry.path}: {error.strerror}") from error
    try:
        info = os.fstat(reading)
        if not _is_same(entry, info):
            raise ChangedError(f"{entry.path} was changed")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(target, flags, 0o600)
        try:
            _copy_bytes(reading, writing, entry.size)
            os.fchmod(writing, stat.S_IMODE(entry.mode))
            os.utime(writing, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_bytes(reading: int, writing: int, size: int) -> None:
    left = size
    while left:
        threads.check()
        try:
            copied = os.copy_file_range(reading, writing, min(left, CHUNK))
        except OSError:  # not on this file system
            copied = os.sendfile(writing, reading, None, min(left, CHUNK))
        if copied == 0:
            raise ChangedError("a file became shorter while it was copied")
        left -= copied


def escaping(tree: pathlib.Path, entries: Iterable[Entry], allowed: Callable[[str], bool]) -> Entry | None:
    """The first link that leads out of the tree, to a place that is not allowed. Resolved as the kernel would."""
    root = os.path.realpath(tree)
    for entry in entries:
        threads.check()
        if entry.is_link:
            real = os.path.realpath(tree / entry.path)
            if real != root and not real.startswith(f"{root}/") and not allowed(real):
                return entry
    return None


def dump(entries: Iterable[Entry]) -> bytes:
    """One JSON row for each entry."""
    rows = [json.dumps([e.path, e.mode, e.size, e.mtime_ns, e.target]) for e in entries]
    return ("[" + ",\n".join(rows) + "]\n").encode("ascii")


def load(data: bytes) -> tuple[Entry, ...]:
    """The reverse of `dump`; ValueError when it is none."""
    try:
        return tuple(Entry(str(row[0]), int(row[1]), int(row[2]), int(row[3]), str(row[4])) for row in json.loads(data))
    except (TypeError, IndexError, KeyError) as error:
        raise ValueError("cannot read the inventory") from error
