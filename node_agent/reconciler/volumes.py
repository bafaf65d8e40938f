"""The volumes of services written out and restored: jobs of the supervisor as the service's user, one at a time for a volume.

What is restored takes the volume's place only when all of it is there, and while nothing of the service runs; until then,
and whatever goes wrong, the volume is as it was.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from node_agent import errors, ports
from node_agent.model import process
from node_agent.model.run import Ending, VolumeSpec
from node_agent.paths import Paths
from node_agent.reconciler import jobs, piped

DELETE_S = 600.0
LONGEST_S = 86400.0


class Volumes:
    """`run` writes a volume to stdout when no archive is named, and restores it when one is."""

    def __init__(self, supervisor: ports.Supervisor, paths: Paths, archives: ports.Archives) -> None:
        self._supervisor, self._paths, self._archives = supervisor, paths, archives
        self._busy: set[tuple[str, str]] = set()

    async def run(self, wanted: VolumeSpec, write: piped.Write) -> Ending:
        """See ports.Runner. Raises NotRunnableError, AgentError, and what `write` raises."""
        async with self._alone(wanted):
            if wanted.archive:
                return await self._restore(wanted, write)
            return await piped.run(self._supervisor, self._paths, _job(wanted, process.JobKind.BACKUP), write)

    async def _restore(self, wanted: VolumeSpec, write: piped.Write) -> Ending:
        await self._demand_stopped(wanted)
        await self._clear(wanted)
        archive = self._paths.run_archive(wanted.run_id)
        try:
            await self._fetch(wanted)
            return await piped.run(self._supervisor, self._paths, _job(wanted, process.JobKind.RESTORE), write)
        finally:
            archive.unlink(missing_ok=True)
            with contextlib.suppress(errors.AgentError):
                await asyncio.shield(self._clear(wanted))

    async def _fetch(self, wanted: VolumeSpec) -> None:
        self._paths.runs.mkdir(mode=0o700, exist_ok=True)
        try:
            await self._archives.fetch(wanted.archive, self._paths.run_archive(wanted.run_id))
        except errors.ReleaseFailedError as error:
            raise errors.ControlPlaneUnavailableError(
                f"cannot restore the volume {wanted.volume}: its archive did not come ({error.code}); send it again"
            ) from error

    async def _demand_stopped(self, wanted: VolumeSpec) -> None:
        """The supervisor says so too, before it begins and before it puts the result in its place; but not as well."""
        found = await self._supervisor.processes()
        if any(one.id.service_id == wanted.service_id for one in found):
            raise errors.NotRunnableError(
                f"cannot restore the volume {wanted.volume}: processes of its service are left; stop it first"
            )

    async def _clear(self, wanted: VolumeSpec) -> None:
        """What restoring leaves beside the volume: what it was before, or half of what it was to be."""
        kind = process.JobKind.REMOVE
        await jobs.run(
            self._supervisor,
            process.JobSpec(wanted.service_id, 0, "", (), "", "", DELETE_S, kind, volume=wanted.volume),
        )

    @contextlib.asynccontextmanager
    async def _alone(self, wanted: VolumeSpec) -> AsyncIterator[None]:
        """Of a volume one thing at a time: what is being read must not be replaced. Raises NotRunnableError."""
        place = (wanted.service_id, wanted.volume)
        if place in self._busy:
            raise errors.NotRunnableError(
                f"cannot take the volume {wanted.volume}: it is being backed up or restored now; try again afterwards"
            )
        self._busy.add(place)
        try:
            yield
        finally:
            self._busy.discard(place)


def _job(wanted: VolumeSpec, kind: process.JobKind) -> process.JobSpec:
    return process.JobSpec(
        service_id=wanted.service_id,
        release=0,
        command="",
        env=(),
        toolchain="",
        working_dir="",
        deadline_s=min(max(wanted.timeout_s, 1.0), LONGEST_S),
        kind=kind,
        run_id=wanted.run_id,
        volumes=(wanted.volume,),
        volume=wanted.volume,
    )
