"""How the siblings of the agent meet: each Protocol has a real implementation, and a fake that passes the same suite."""

import dataclasses
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from node_agent.model import canary, cron, disk, log, process, run, source, spec, status
from node_agent.model.actions import Target
from node_agent.model.decided import Rows


class Supervisor(Protocol):
    """The privileged neighbour. Every call raises SupervisorUnavailableError or SupervisorRefusedError."""

    async def hello(self) -> process.SupervisorInfo: ...
    async def processes(self) -> tuple[process.ProcessStatus, ...]: ...
    async def start(self, wanted: process.ProcessSpec) -> process.ProcessStatus:
        """Start the process unless it exists already (then its status comes back). Restarts are the supervisor's."""
        ...

    async def stop(self, process_id: process.ProcessId, grace_s: float) -> None:
        """SIGTERM, `grace_s`, kill of the whole tree; returns when nothing of it is left. No-op when unknown."""
        ...

    async def replace(self, process_id: process.ProcessId, unwell: process.Unwell, grace_s: float) -> None:
        """SIGTERM, `grace_s`, kill of the whole tree, then another life by the policy of crashes; told as `unhealthy`.

        Returns once that has begun; when it has already, nothing more happens. Refused when the life that is meant is over.
        """
        ...

    async def signal(self, process_id: process.ProcessId, name: str) -> None:
        """Send HUP, INT, QUIT, USR1, USR2, TERM or WINCH to the main process. Refused when it does not run."""
        ...

    async def stats(self) -> dict[process.ProcessId, process.Usage]:
        """What the tree of each process uses now."""
        ...

    async def run_job(self, job: process.JobSpec) -> process.JobResult:
        """Run to the end. A job of the same id left by a former agent is ended first, whole."""
        ...

    async def cancel_job(self, job_id: str) -> None:
        """End the job's whole tree; returns when it is gone. No-op when unknown."""
        ...

    async def await_job(self, job_id: str) -> process.JobResult | None:
        """The result of a job that goes on without its caller, once there is one; None when the supervisor knows of none."""
        ...

    async def prepare_build(self, service_id: str, release: int) -> None:
        """Make the places of the service that a builder fills, and the log of this build, should they belong to others."""
        ...

    async def index_logs(self, service_id: str) -> None:
        """Number the lines that the builder wrote itself; those of processes and jobs are numbered as they come."""
        ...

    async def forget(self, service_id: str) -> None:
        """Drop the records and logs of a service of which no process is left."""
        ...

    async def measure(self, service_id: str = "") -> dict[str, disk.Use]:
        """What uses the disk below the data directory, of one service or of everything; see model/disk.py for the keys."""
        ...

    async def proxy_test(self, generation: int) -> tuple[bool, str]:
        """nginx's own check of proxy/generations/<generation>; its words."""
        ...

    async def proxy_ensure(self) -> bool:
        """Start the managed nginx when it does not run; True when it had to be started."""
        ...

    async def proxy_reload(self) -> None: ...

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """Call `changed(service_id)` from the loop on every change of a process; also after a reconnect (with "")."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """A sealed release on disk. `static_root` is relative to its tree and set for the static runtime only.

    `run_cmd` is what was detected for a release that names none, `decided` all that its source decided.
    """

    release: int
    commit: str
    digest: str
    toolchain: str
    static_root: str | None
    run_cmd: str = ""
    decided: Rows = ()


class Builder(Protocol):
    """From a release's description to a sealed directory."""

    async def build(
        self, service_id: str, release: spec.ReleaseSpec, progress: Callable[[status.ReleaseState, str], None]
    ) -> Artifact:
        """Resolve, fetch, provision, build, seal. `progress(state, commit)` tells each step as it begins, the commit as
        soon as it is known (the caller journals it and passes it back in `release.commit` on another attempt).
        A release with `build_of` gets that one's sealed tree, and runs no command, as long as it is on disk.
        Raises ReleaseFailedError; cancelling the task ends everything it started and leaves no build tree, soon
        also when the tree is huge.
        """
        ...

    async def sealed(self, service_id: str, release: int) -> Artifact | None:
        """The artifact when release is complete on disk and its manifest agrees, else None."""
        ...

    async def prune(self, service_id: str, keep: frozenset[int]) -> None:
        """Delete every release and build tree but those in `keep`: gone when it returns, their disk space a while later."""
        ...

    async def remove(self, service_id: str) -> None:
        """Delete all releases, build trees and the home of a service that no longer runs; as `prune` does."""
        ...


class Remote(Protocol):
    """Where sources come from."""

    async def resolve(self, remote: str, branch: str, access: source.Access = source.NO_ACCESS) -> str:
        """The commit that the branch points to now. Raises ReleaseFailedError."""
        ...


class Archives(Protocol):
    """Uploaded sources, kept by the control plane."""

    async def fetch(self, archive: str, target: pathlib.Path) -> None:
        """Write the archive of that digest to `target`, verified. Waits for the control plane, within bounds.

        Raises ReleaseFailedError, OSError.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Canary:
    """The release that gets `percent` of a service's requests for a trial."""

    release: int
    ports: tuple[int, ...]
    percent: int


@dataclasses.dataclass(frozen=True, slots=True)
class Upstream:
    """Where the proxy sends a service's requests: ports on loopback, or a directory (service, release, root).

    With neither nothing runs that may have them, and the proxy answers so.
    """

    release: int
    ports: tuple[int, ...] = ()
    static_root: str | None = None
    canary: Canary | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """One service as the proxy knows it. `former` are routes as they were served last, kept until their change is served:
    one whose change cannot be goes on so.
    """

    service_id: str
    upstream: Upstream
    routes: tuple[spec.RouteSpec, ...]
    former: tuple[spec.RouteSpec, ...] = dataclasses.field(default=(), compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class ProxyState:
    """What nginx really answers with: the generation, and with nginx's words the routes that are left out, or as before."""

    generation: int
    quarantined: tuple[tuple[str, str], ...] = ()


class Proxy(Protocol):
    """The managed nginx as one transaction."""

    async def recover(self) -> None:
        """First at start: finish or undo an interrupted change, start nginx when it does not run."""
        ...

    async def apply(self, sites: tuple[Site, ...]) -> ProxyState:
        """Make exactly `sites` live and return when the new generation answers. Concurrent calls are coalesced, the
        newest table wins. Raises ProxyError with nginx's words; then the former configuration serves.
        """
        ...


class Requests(Protocol):
    """How requests ended that the proxy sent to processes on trial."""

    def of(self, ports: Collection[int]) -> canary.Counts:
        """Those to all these ports together, since the agent began."""
        ...

    def drop(self, port: int) -> None:
        """Forget what was counted of the port: another process may get it."""
        ...


class ReleaseJournal(Protocol):
    """Releases of a service, what is live and what failed. Every method is one durable transaction."""

    async def releases(self, service_id: str) -> tuple[tuple[spec.ReleaseSpec, status.ReleaseReport], ...]:
        """Newest first."""
        ...

    async def put_release(self, service_id: str, report: status.ReleaseReport) -> None:
        """Record a step; an empty commit leaves the recorded one."""
        ...

    async def count_attempt(self, service_id: str, release: int) -> int:
        """Attempts at building the release, this one included."""
        ...

    async def reset_attempts(self, service_id: str, release: int) -> None: ...
    async def live(self, service_id: str) -> Target | None: ...
    async def put_live(self, service_id: str, target: Target, reports: Collection[status.ReleaseReport] = ()) -> None:
        """Record what serves now, and in the same step how its release and the former one are from here on."""
        ...

    async def failures(self, service_id: str) -> dict[Target, str]: ...
    async def put_failure(self, service_id: str, target: Target, report: status.ReleaseReport | None, why: str) -> None:
        """Record that the target can never go live, and in the same step the end of its release when there is one."""
        ...

    async def settle(self, service_id: str) -> None:
        """Nothing of the service runs: neither live nor failed."""
        ...


class PortJournal(Protocol):
    """Which process has which port; a freed one rests for a minute. Times are seconds since the epoch."""

    async def ports_of(self, service_id: str) -> tuple[str, ...]:
        """The processes of a service that have a port."""
        ...

    async def port_of(self, process_id: str) -> int | None: ...
    async def taken_ports(self, now: float) -> frozenset[int]: ...
    async def take_port(self, process_id: str, port: int) -> None: ...
    async def free_port(self, process_id: str, now: float) -> None: ...


class SiteJournal(Protocol):
    """The rows that the proxy answered with."""

    async def sites(self) -> tuple[Site, ...]: ...
    async def put_site(self, site: Site) -> None: ...
    async def drop_site(self, service_id: str) -> None: ...


class CronJournal(Protocol):
    """Runs of cron entries: of each entry the newest, and those that are under way."""

    async def cron_runs(self) -> tuple[cron.Run, ...]:
        """In the order in which they were begun, whatever the clock said then."""
        ...

    async def put_cron_run(self, run: cron.Run) -> None:
        """Before it is started. Nothing is kept for a service that is forgotten."""
        ...

    async def end_cron_run(self, run: cron.Run) -> None:
        """Keep its outcome, unless it is known no more."""
        ...


class Journal(ReleaseJournal, PortJournal, SiteJournal, CronJournal, Protocol):
    """All that the reconciler keeps, and the wishes themselves."""

    async def put_wish(self, wanted: spec.ServiceSpec) -> int:
        """Keep `wanted` when it is newer than what is held; the newest generation that is held then."""
        ...

    async def wish(self, service_id: str) -> tuple[spec.ServiceSpec, bool] | None:
        """The newest wish, and whether its tombstone was carried out."""
        ...

    async def wishes(self) -> tuple[tuple[spec.ServiceSpec, bool], ...]: ...
    async def generations(self) -> dict[str, int]: ...
    async def forget(self, service_id: str, farewell: status.ServiceReport) -> None:
        """Drop all of a removed service but its tombstone, which refuses late wishes; spool the report that says so."""
        ...

    async def spool(self, report: status.ServiceReport) -> None: ...


class Inbox(Protocol):
    """Where the session leaves wishes. Durable when it returns."""

    async def accept(self, wanted: spec.ServiceSpec) -> int:
        """Store the wish; returns the newest generation that is held (an older wish changes nothing)."""
        ...

    async def generations(self) -> dict[str, int]: ...


class Spool(Protocol):
    """Reports that wait for their acknowledgement: the newest of each service, state changes never dropped."""

    async def pending(self) -> tuple[tuple[int, status.ServiceReport], ...]:
        """(sequence, report), oldest first."""
        ...

    async def acknowledge(self, sequence: int) -> None: ...

    async def wait(self, after: int) -> None:
        """Return when a report with a sequence above `after` is spooled."""
        ...


class Runner(Protocol):
    """One-off commands in the environment of a live release, and volumes written out and restored."""

    async def run(
        self, wanted: run.RunSpec | run.VolumeSpec, write: Callable[[str, bytes], Awaitable[None]]
    ) -> run.Ending:
        """Run to the end; `write(stream, data)` gets what it writes as it writes it, in order per stream.

        Whoever is slow in `write` slows the command down. Cancelling the task ends the whole tree. Raises
        NotRunnableError, SupervisorUnavailableError, SupervisorRefusedError, and what `write` raises.
        """
        ...


class LogReader(Protocol):
    def read(self, query: log.LogQuery) -> AsyncIterator[log.LogBatch]:
        """Batches of at most 100 lines or 256 KiB. With `follow` it ends only when the service's log is deleted."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class HostFacts:
    hostname: str
    os: str
    cpus: int
    memory_bytes: int
    disk_bytes: int
    addresses: tuple[str, ...]
    capabilities: tuple[tuple[str, str], ...]
    runtimes: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class HostSample:
    """One measurement as structured JSON text and as Prometheus exposition."""

    time: float
    families_json: str
    exposition: str


class Sampler(Protocol):
    def facts(self) -> tuple[str, str, int, int, int, tuple[str, ...]]:
        """hostname, os, cpus, memory bytes, disk bytes, addresses."""
        ...

    def sample(self, processes: tuple[process.ProcessStatus, ...], disk: Mapping[str, Any]) -> HostSample:
        """Host and processes in one pass, and what is known of the disk. May block a few milliseconds."""
        ...
