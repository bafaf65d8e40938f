"""One-off commands, and what is done to volumes: jobs of the supervisor that talk to whoever asked."""

import shutil

from node_agent import errors, ports
from node_agent.model import decided, process
from node_agent.model.run import Ending, RunSpec, VolumeSpec
from node_agent.paths import Paths
from node_agent.reconciler import launching, piped
from node_agent.reconciler.host import Host
from node_agent.reconciler.volumes import Volumes

LONGEST_S = 86400.0


class Runs:
    """Implements ports.Runner."""

    def __init__(self, host: Host, paths: Paths, archives: ports.Archives) -> None:
        self._host, self._paths = host, paths
        self._volumes = Volumes(host.supervisor, paths, archives)

    def sweep(self) -> None:
        """Once at start: pipes of a killed agent. Its commands ended with it."""
        shutil.rmtree(self._paths.runs, ignore_errors=True)

    async def run(self, wanted: RunSpec | VolumeSpec, write: piped.Write) -> Ending:
        if isinstance(wanted, VolumeSpec):
            return await self._volumes.run(wanted, write)
        return await piped.run(self._host.supervisor, self._paths, await self._job(wanted), write)

    async def _job(self, wanted: RunSpec) -> process.JobSpec:
        """Where and with what it runs: as the live release's own processes do. Raises NotRunnableError."""
        journal, service_id = self._host.journal, wanted.service_id
        live = await journal.live(service_id)
        releases = {known.number: release for release, known in await journal.releases(service_id)}
        artifact = await self._host.builder.sealed(service_id, live.release) if live else None
        if live is None or artifact is None or live.release not in releases:
            raise errors.NotRunnableError(
                f"cannot run a command: service {service_id} has no live release; deploy or start it first"
            )
        release = decided.effective(releases[live.release], artifact.decided)
        deadline_s = min(max(wanted.timeout_s, 1.0), LONGEST_S)
        return launching.job_of(
            process.JobKind.RUN, service_id, wanted.command, deadline_s, release, artifact, run_id=wanted.run_id
        )
