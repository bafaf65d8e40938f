"""Uploaded sources: given to the instances that want them, and removed when no release names them any more."""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import IO

from control_plane import errors, ports
from control_plane.services.context import Context

PROJECT_BYTES = 20 << 30


class Archives:
    """Implements ports.Archives over the rows and ports.ArchiveFiles. Without `files` nothing can be uploaded."""

    def __init__(
        self, context: Context, files: ports.ArchiveFiles | None = None, project_bytes: int = PROJECT_BYTES
    ) -> None:
        self._context = context
        self._files = files
        self._project_bytes = project_bytes
        self._lent: collections.Counter[tuple[str, str]] = collections.Counter()
        self._sweeping = asyncio.Lock()  # what is let go between the question and the sweep would be lost

    async def open(self, instance_id: str, archive: str) -> AsyncIterator[bytes]:
        """The pieces of an archive. NotFoundError unless it is lent to that instance, or a service there shall run a
        release of it.
        """
        if self._lent[instance_id, archive] and self._files is not None:
            return self._files.pieces(archive)
        async with self._context.store.read() as tx:
            services = await tx.list_services_of_instance(instance_id)
            newest = await tx.newest_releases([service.deployment_id for service in services])
            wanted = any(release.archive == archive for release in newest.values())
        if not archive or not wanted or self._files is None:
            raise errors.NotFoundError(f"cannot send archive {archive[:64]!r}: no service of {instance_id} wants it")
        return self._files.pieces(archive)

    @contextlib.contextmanager
    def lent(self, instance_id: str, archive: str) -> Iterator[None]:
        """While it lasts, the instance may have the archive, though no release names it; it is kept already."""
        self._lent[instance_id, archive] += 1
        try:
            yield
        finally:
            self._lent[instance_id, archive] -= 1
            self._lent += collections.Counter()  # without those of no one

    def keep(self, stream: IO[bytes]) -> str:
        """See ports.ArchiveFiles.keep; blocks. Whoever calls it calls `used` in the end."""
        if self._files is None:
            raise errors.UnavailableError("cannot take an archive: there is no place for uploads here")
        return self._files.keep(stream)

    async def demand_room(self, tx: ports.Transaction, project_id: str) -> None:
        """ConflictError when the sources of a project, as they are after a change, are more than it may keep."""
        names = await tx.archives_in_use(project_id)
        kept = 0 if self._files is None else await self._files.size(names)
        if kept > self._project_bytes:
            raise errors.ConflictError(
                f"cannot keep the source: project {project_id} would have {kept} bytes of uploaded sources, and may have "
                f"{self._project_bytes}; upload less, or delete a deployment that was uploaded",
                {"project_id": project_id, "bytes": kept, "limit": self._project_bytes},
            )

    async def used(self, archive: str) -> None:
        """The change that `archive` was kept for is made, or failed: whatever no release names goes."""
        if self._files is not None:
            async with self._sweeping:
                self._files.let_go(archive)
                await self._sweep(self._files)

    async def sweep(self) -> None:
        """Called from time to time, first at the start: deployments were deleted, old releases dropped."""
        if self._files is not None:
            async with self._sweeping:
                await self._sweep(self._files)

    async def _sweep(self, files: ports.ArchiveFiles) -> None:
        async with self._context.store.read() as tx:
            wanted = await tx.archives_in_use()
        await files.sweep(wanted)
