"""Uploaded sources in memory."""

import hashlib
from collections.abc import AsyncIterator

from control_plane import errors


class MemoryArchives:
    """Implements ports.Archives: `put` an archive for an instance, `forget` it when no service wants it any more."""

    def __init__(self) -> None:
        self._archives: dict[tuple[str, str], bytes] = {}

    def put(self, instance_id: str, data: bytes) -> str:
        """The digest by which it is asked for."""
        digest = hashlib.sha256(data).hexdigest()
        self._archives[instance_id, digest] = data
        return digest

    def forget(self, instance_id: str, archive: str) -> None:
        self._archives.pop((instance_id, archive), None)

    async def open(self, instance_id: str, archive: str) -> AsyncIterator[bytes]:
        data = self._archives.get((instance_id, archive))
        if data is None:
            raise errors.NotFoundError(f"cannot send archive {archive[:64]!r}: no service of {instance_id} wants it")
        return _whole(data)


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
