"""Uploaded sources as files named by their SHA-256, in one directory (0700, files 0600).

A file under its name is whole and durable: it is written beside, synced, and renamed. Nothing is unpacked here.

Other replicas may keep files in the same directory. What they hold is not known here, so a sweep spares what is fresh unless it
was kept, and let go, by this process.
"""

import asyncio
import collections
import contextlib
import errno
import hashlib
import os
import pathlib
import re
import threading
from collections.abc import AsyncIterator, Collection, Iterator
from typing import IO

import failpoints
from control_plane import errors
from control_plane.clock import Clock

PIECE_BYTES = 256 << 10
NAME = re.compile(r"[0-9a-f]{64}")
TEMPORARY = ".upload-"
SPARED_S = 3600.0  # from the last byte to the change that names the archive it is seconds
# How the archives begin that an agent can unpack: .tar.gz, .tar.zst, .zip.
KINDS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class FileArchives:
    """Implements ports.ArchiveFiles. One for each directory in a process."""

    def __init__(self, directory: pathlib.Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._held: collections.Counter[str] = collections.Counter()
        self._writing: set[pathlib.Path] = set()
        self._ours: dict[str, int] = {}  # what this process kept: name → inode

    @failpoints.around("archive.keep")
    def keep(self, stream: IO[bytes]) -> str:
        temporary = self._directory / f"{TEMPORARY}{os.urandom(8).hex()}"
        with self._lock:
            self._writing.add(temporary)
        try:
            with _room():
                digest = _write(temporary, stream)
                with self._lock:  # before it has its name: a sweep sees it held or not at all
                    self._held[digest] += 1
                    self._ours[digest] = temporary.stat().st_ino
                    temporary.replace(self._directory / digest)
                _sync(self._directory)
        finally:
            temporary.unlink(missing_ok=True)
            with self._lock:
                self._writing.discard(temporary)
        return digest

    def let_go(self, archive: str) -> None:
        with self._lock:
            self._held[archive] -= 1
            if self._held[archive] <= 0:
                del self._held[archive]

    async def pieces(self, archive: str) -> AsyncIterator[bytes]:
        if not NAME.fullmatch(archive):
            raise _missing(archive)
        try:
            file = await asyncio.to_thread((self._directory / archive).open, "rb")
        except OSError as error:
            raise _missing(archive) from error
        try:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece
        finally:
            await asyncio.to_thread(file.close)

    async def size(self, archives: Collection[str]) -> int:
        return await asyncio.to_thread(sum, map(self._size, frozenset(archives)))

    def _size(self, archive: str) -> int:
        try:
            return (self._directory / archive).stat().st_size if NAME.fullmatch(archive) else 0
        except OSError:
            return 0

    async def sweep(self, wanted: Collection[str]) -> None:
        await asyncio.to_thread(self._sweep, frozenset(wanted))

    def _sweep(self, wanted: frozenset[str]) -> None:
        with self._lock:
            for path in self._directory.iterdir():
                is_used = path.name in wanted or path.name in self._held or path in self._writing
                is_kind = NAME.fullmatch(path.name) or path.name.startswith(TEMPORARY)
                if is_kind and not is_used and self._may_go(path):
                    path.unlink(missing_ok=True)
                    self._ours.pop(path.name, None)

    def _may_go(self, path: pathlib.Path) -> bool:
        """Nobody can be about to use it: it is our own, or old."""
        try:
            found = path.stat()
        except FileNotFoundError:  # another replica was faster
            return False
        return self._ours.get(path.name) == found.st_ino or self._clock.now().timestamp() - found.st_mtime > SPARED_S


def _write(path: pathlib.Path, stream: IO[bytes]) -> str:
    """What `stream` gives into `path`, synced; its digest. InvalidError for what is no archive."""
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        first = _first(stream)
        piece = first
        while piece:
            digest.update(piece)
            file.write(piece)
            piece = stream.read(PIECE_BYTES)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _first(stream: IO[bytes]) -> bytes:
    """The beginning, which tells the kind; a stream may give it in small pieces."""
    first = b""
    while len(first) < max(len(kind) for kind in KINDS) and (more := stream.read(PIECE_BYTES)):
        first += more
    if not first.startswith(KINDS):
        issue = "must be a .tar.gz, .tar.zst or .zip" if first else "is empty"
        raise errors.InvalidError.field(f"cannot take the archive: the body {issue}", "body", issue)
    return first


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise errors.InsufficientStorageError(
            "cannot keep the archive: the disk of the control plane is full; make room and send it again"
        ) from error


def _sync(directory: pathlib.Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _missing(archive: str) -> errors.NotFoundError:
    return errors.NotFoundError(f"cannot find archive {archive[:64]!r}; upload the source again")
