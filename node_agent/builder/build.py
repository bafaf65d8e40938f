"""The real builder of a host. It owns builds/ and releases/ of every service; the supervisor runs the commands."""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Callable

import failpoints
from node_agent import clock, errors, ports
from node_agent.builder import archive, manifest, trees
from node_agent.builder.attempt import Attempt, Tools
from node_agent.builder.git import Git
from node_agent.builder.room import Room
from node_agent.builder.threads import in_thread
from node_agent.builder.toolchains import Toolchains
from node_agent.builder.trash import Trash
from node_agent.errors import ReleaseFailedError
from node_agent.model import disk, process, spec, status
from node_agent.paths import Paths


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """`builds` and `fetches` at once on this host; `build_s` for all commands of one build together."""

    build_s: float = 1200.0
    builds: int = max(1, (os.cpu_count() or 1) // 2)
    fetches: int = 4


class HostBuilder:
    """ports.Builder on this host's disk. `trash` and `room` are to be run as tasks: they delete what builds and releases
    left, and what nobody uses.
    """

    def __init__(
        self,
        paths: Paths,
        supervisor: ports.Supervisor,
        git: Git,
        toolchains: Toolchains,
        clock: clock.Clock,
        limits: Limits | None = None,
        archives: ports.Archives | None = None,
        budgets: disk.Budgets | None = None,
    ) -> None:
        limits = limits or Limits()
        fetches, builds = asyncio.Semaphore(limits.fetches), asyncio.Semaphore(limits.builds)
        self.trash = Trash(paths)
        self.room = Room(paths, supervisor, clock, self.trash, budgets)
        self._tools = Tools(
            paths=paths,
            room=self.room,
            supervisor=supervisor,
            git=git,
            archives=archives or archive.NoArchives(),
            toolchains=toolchains,
            clock=clock,
            fetches=fetches,
            builds=builds,
            build_s=limits.build_s,
        )
        self._paths = paths

    async def build(
        self, service_id: str, release: spec.ReleaseSpec, progress: Callable[[status.ReleaseState, str], None]
    ) -> ports.Artifact:
        """A release that is complete already comes back as it is: its number stands for one description."""
        if existing := await self.sealed(service_id, release.number):
            return existing
        try:
            async with self.room.entered(service_id, release.number):
                return (await Attempt(self._tools, service_id, release, progress).run()).artifact
        except OSError as error:
            raise _explained(error) from error

    async def sealed(self, service_id: str, release: int) -> ports.Artifact | None:
        found = await asyncio.to_thread(manifest.read, self._paths.release(service_id, release))
        return found.artifact if found else None

    async def prune(self, service_id: str, keep: frozenset[int]) -> None:
        """What is being built now is kept too."""
        busy = self.room.building(service_id)
        for place in trees.children(self._paths.builds(service_id)):
            if place.name.isdigit() and int(place.name) not in keep | busy:
                await self._remove_files(service_id, int(place.name))
        await in_thread(self._prune, service_id, frozenset(str(number) for number in keep | busy))
        self.trash.wake()

    @failpoints.around("files.remove")
    async def remove(self, service_id: str) -> None:
        if self._paths.service(service_id).exists():
            await in_thread(self._prune, service_id, frozenset())
            await self._remove_files(service_id, 0)
        await in_thread(self._remove, service_id)
        self.trash.wake()

    async def _remove_files(self, service_id: str, release: int) -> None:
        """What users of their own may have made, by the supervisor; where there are none, it is ours to delete."""
        kind = process.JobKind.REMOVE
        job = process.JobSpec(service_id, release, "", (), "", "", trees.DELETE_S, kind)
        with contextlib.suppress(errors.AgentError):
            await self._tools.supervisor.run_job(job)

    def _prune(self, service_id: str, keep: frozenset[str]) -> None:
        """What a user of the builds may have made was removed before, or is by the supervisor."""
        for directory in (self._paths.releases(service_id), self._paths.builds(service_id)):
            for place in trees.children(directory):
                if place.name.removeprefix(".").removesuffix(".new") not in keep:
                    with contextlib.suppress(PermissionError):
                        trees.discard(self._paths, place)

    def _remove(self, service_id: str) -> None:
        """Logs stay: the supervisor owns them and drops them with its records."""
        paths = self._paths
        homes = [of(service_id) for of in (paths.home, paths.build_home, paths.tmp, paths.build_tmp, paths.volumes)]
        for directory in (paths.releases(service_id), paths.builds(service_id), *homes):
            trees.discard(paths, directory)
        with contextlib.suppress(OSError):
            paths.service(service_id).rmdir()


def _explained(error: OSError) -> ReleaseFailedError:
    return ReleaseFailedError("host_error", f"cannot build: {error}; look at the host's disk and its permissions")
