"""Writes the current directory, a volume, as a gzip tar to its output.

A program of its own that the supervisor runs as root, and that goes on as the service's user: `backup.py [UID GID]`. It sees
no more than the service's own programs do. It imports nothing of ours. Exit status 0: all of it is written; 2: it is not,
with one sentence on the error output.

Of each file as many bytes are written as it had when its turn came, whatever its service does meanwhile. What was deleted
before its turn is left out; so are sockets, FIFOs and devices, which hold no data of their own.
"""

import gzip
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import IO, NoReturn

REFUSED = 2
CHUNK = 1 << 20
LEVEL = 3  # of 9: a little larger than usual, and three times as fast
OPENING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Exactly:
    """The first `size` bytes of a file; zeros for what it no longer has."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._left = fd, size

    def read(self, size: int = CHUNK, /) -> bytes:
        """All that was asked for, as long as there is something left."""
        wanted = min(size, self._left)
        data = bytearray()
        while len(data) < wanted:
            data += os.read(self._fd, wanted - len(data)) or bytes(wanted - len(data))
        self._left -= wanted
        return bytes(data)


def write(out: IO[bytes]) -> None:
    """Raises OSError."""
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as archive,
    ):
        for path in _entries():
            try:
                _add(archive, path)
            except FileNotFoundError:
                continue  # deleted meanwhile


def _entries() -> Iterator[str]:
    """Every name below, a directory before what is in it; links are not followed."""
    waiting = ["."]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
        except FileNotFoundError:
            continue
        for name, is_directory in entries:
            path = name if place == "." else f"{place}/{name}"
            yield path
            if is_directory:
                waiting.append(path)


def _add(archive: tarfile.TarFile, path: str) -> None:
    known = os.lstat(path)
    if stat.S_ISREG(known.st_mode):
        _add_file(archive, path)
    elif stat.S_ISDIR(known.st_mode):
        archive.addfile(_header(path, known, tarfile.DIRTYPE))
    elif stat.S_ISLNK(known.st_mode):
        header = _header(path, known, tarfile.SYMTYPE)
        header.linkname = os.readlink(path)  # noqa: PTH115 - names are text here
        archive.addfile(header)


def _add_file(archive: tarfile.TarFile, path: str) -> None:
    fd = os.open(path, OPENING)
    try:
        known = os.fstat(fd)
        if stat.S_ISREG(known.st_mode):
            header = _header(path, known, tarfile.REGTYPE)
            header.size = known.st_size
            archive.addfile(header, Exactly(fd, known.st_size))
    finally:
        os.close(fd)


def _header(path: str, known: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    """Without owners: all is the service's."""
    header = tarfile.TarInfo(path)
    header.type, header.mode, header.mtime = kind, stat.S_IMODE(known.st_mode) & 0o777, int(known.st_mtime)
    return header


def drop(uid: int, gid: int) -> None:
    """Go on as the service's user. All is imported: later, our own files may not be readable any more."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def main(arguments: list[str]) -> None:
    try:
        if arguments:
            drop(*map(int, arguments))
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(1)  # whoever wanted it is gone
    except OSError as error:
        named = f": {error.filename!r}" if error.filename else ""
        refuse(f"it cannot be read: {error.strerror or error}{named}")
    except Exception as error:  # what writes archives raises what it likes
        refuse(f"it cannot be packed: {type(error).__name__}: {error}")


def refuse(words: str) -> NoReturn:
    sys.stderr.write(f"{words[:400]}\n")
    sys.stderr.flush()
    os._exit(REFUSED)


if __name__ == "__main__":
    main(sys.argv[1:])
