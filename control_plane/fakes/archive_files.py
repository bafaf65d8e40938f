"""Uploaded sources in memory. `full` plays a disk without room."""

import collections
import hashlib
from collections.abc import AsyncIterator, Collection
from typing import IO

from control_plane import errors

KINDS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")


class MemoryArchiveFiles:
    """Implements ports.ArchiveFiles."""

    def __init__(self) -> None:
        self.full = False
        self.kept: dict[str, bytes] = {}
        self._held: collections.Counter[str] = collections.Counter()

    def keep(self, stream: IO[bytes]) -> str:
        data = stream.read()
        if not data.startswith(KINDS):
            issue = "must be a .tar.gz, .tar.zst or .zip" if data else "is empty"
            raise errors.InvalidError.field(f"cannot take the archive: the body {issue}", "body", issue)
        if self.full:
            raise errors.InsufficientStorageError("cannot keep the archive: there is no room; make some, send it again")
        digest = hashlib.sha256(data).hexdigest()
        self.kept[digest] = data
        self._held[digest] += 1
        return digest

    def let_go(self, archive: str) -> None:
        self._held[archive] -= 1

    async def pieces(self, archive: str) -> AsyncIterator[bytes]:
        if archive not in self.kept:
            raise errors.NotFoundError(f"cannot find archive {archive[:64]!r}; upload the source again")
        yield self.kept[archive]

    async def size(self, archives: Collection[str]) -> int:
        return sum(len(self.kept.get(one, b"")) for one in set(archives))

    async def sweep(self, wanted: Collection[str]) -> None:
        self.kept = {key: data for key, data in self.kept.items() if key in wanted or self._held[key] > 0}
