"""The agent's composition root: one TaskGroup, started and stopped in order. The only file that may import everything.

Stopping never touches the applications: the session ends, the workers end, the journal is closed.
"""

import asyncio
import contextlib
import pathlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator

import structlog

from node_agent import clock as clocks
from node_agent import config, errors, former_places, ports
from node_agent.builder import archive, git_command, git_sandbox
from node_agent.builder.build import HostBuilder
from node_agent.builder.egress import Egress
from node_agent.builder.git import Git, Policy
from node_agent.builder.git_command import GitCommand, trusted_authorities
from node_agent.builder.toolchains import Toolchains
from node_agent.log_reader import LogReader
from node_agent.metrics.sample import HostSampler
from node_agent.model import disk
from node_agent.paths import Paths
from node_agent.proxy import options, render
from node_agent.proxy.requests import RequestCounts, listening
from node_agent.proxy.transaction import NginxProxy, nginx_uid
from node_agent.reconciler import gate
from node_agent.reconciler.branches import Branches
from node_agent.reconciler.host import Host
from node_agent.reconciler.owners import Owners
from node_agent.reconciler.reconciler import Reconciler
from node_agent.reconciler.runs import Runs
from node_agent.reconciler.sites import Sites
from node_agent.service_manager import ServiceManager
from node_agent.session import identity
from node_agent.session.archives import HubArchives
from node_agent.session.client import Session
from node_agent.state.journal import Journal
from node_agent.supervisor_client import SupervisorClient

log = structlog.get_logger()
# What this agent does with a wish; the control plane refuses, or warns of, what is not here.
CAPABILITIES = (
    ("replicas", "100"),
    ("process_replicas", "100"),
    ("strategies", "rolling,recreate,canary"),
    ("port_modes", "env,fixed"),
    ("processes", "any"),
    ("cron", "utc"),
    ("sources", "remote,local"),
    ("detects", "runtime,run_cmd,port"),
    ("health_checks", ",".join(gate.KINDS)),
    ("route_options", ",".join(options.RENDERED)),
    ("runs", "4"),
    ("cancel", "yes"),
)
VOLUMES = "directories"  # what a supervisor says that makes them: an older one may run on
JOIN_RETRY_S = 0.25
LOG_EVERY = 40


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked
    """A signal asked the agent to end."""


async def run(settings: config.Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises AgentError when it cannot begin."""
    use_pidfds()
    paths = Paths(settings.data_dir)
    paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    former_places.leave(paths)
    clock, manager = clocks.SystemClock(), ServiceManager()
    try:
        async with (
            _supervisor(paths) as supervisor,
            _journal(paths) as journal,
            _hits(paths) as hits,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(_until_signal(manager), name="signals")
            tasks.create_task(_report(manager), name="service manager")
            await _begin(settings, paths, clock, supervisor, journal, hits, tasks)
    except* Stopped:
        log.info("agent.stopped")


async def _begin(
    settings: config.Settings,
    paths: Paths,
    clock: clocks.Clock,
    supervisor: SupervisorClient,
    journal: Journal,
    hits: RequestCounts,
    tasks: asyncio.TaskGroup,
) -> None:
    is_hidden = await git_sandbox.works(shutil.which(git_sandbox.PROGRAM, path=git_command.PATH), paths.root)
    toolchains, git = Toolchains(paths), _git(settings, paths, is_hidden=is_hidden)
    await asyncio.to_thread(git.sweep)
    await asyncio.to_thread(archive.sweep, paths)
    archives = HubArchives()
    budgets = disk.budgets(settings.disk_reserve, settings.build_disk, settings.cache_disk)
    builder = HostBuilder(paths, supervisor, git, toolchains, clock, archives=archives, budgets=budgets)
    tasks.create_task(builder.trash.run(), name="trash")
    tasks.create_task(builder.room.run(), name="room")
    proxy = NginxProxy(paths, supervisor, render.ProxySettings(settings.proxy_host, settings.proxy_port), clock)
    host = Host(journal, supervisor, builder, Sites(proxy, journal), clock, hits, Owners(supervisor))
    reconciler = Reconciler(host, tasks)
    tasks.create_task(reconciler.run(), name="reconciler")
    branches = Branches(journal, git, host.heads, clock, clocks.SystemChance(), reconciler.changed)
    tasks.create_task(branches.run(), name="branches")
    runs = Runs(host, paths, archives)
    await asyncio.to_thread(runs.sweep)
    sampler = HostSampler(clock)
    known = await _identity(settings, paths)

    sources = source_capabilities(settings, is_hidden=is_hidden)

    async def facts() -> ports.HostFacts:
        return await host_facts(sampler, supervisor, toolchains, sources)

    async def sample() -> ports.HostSample:
        return await asyncio.to_thread(sampler.sample, await supervisor.processes(), builder.room.told())

    session = Session(
        settings.hub,
        known,
        inbox=reconciler,
        spool=journal,
        log_reader=LogReader(paths),
        runner=runs,
        archives=archives,
        facts=facts,
        samples=sample,
        clock=clock,
        chance=clocks.SystemChance(),
    )
    tasks.create_task(_session(session, reconciler), name="session")


def _git(settings: config.Settings, paths: Paths, *, is_hidden: bool) -> Git:
    policy = Policy(settings.allow_file_remotes, settings.allow_ssh_remotes, settings.ssh_known_hosts)
    hidden = paths.root if is_hidden else None
    command = GitCommand(paths.cache / "git", ca_file=trusted_authorities(), hidden=hidden)
    return Git(paths, policy, Egress(settings.git_allow), command)


async def _session(session: Session, reconciler: Reconciler) -> None:
    try:
        await session.run()
    except errors.FencedError as error:
        log.error("agent.fenced", error=str(error))
        await reconciler.fence()


async def _identity(settings: config.Settings, paths: Paths) -> identity.Identity:
    """The stored certificate, or a new one for the join token; waits while the control plane is not up yet."""
    known = identity.load(paths)
    if known is None and settings.join_token_file is None:
        raise errors.AgentError("cannot join: there is no certificate yet; give --join-token-file with a fresh token")
    waited = 0
    while known is None:
        try:
            known = await identity.enrol(paths, _join_token(settings), settings.enrol)
        except errors.ControlPlaneUnavailableError as error:
            if waited % LOG_EVERY == 0:
                log.info("agent.waiting_to_join", reason=str(error))
            waited += 1
            await asyncio.sleep(JOIN_RETRY_S)
    return known


def _join_token(settings: config.Settings) -> str:
    file = settings.join_token_file
    try:
        return file.read_text(encoding="ascii").strip() if file else ""
    except FileNotFoundError:
        raise errors.ControlPlaneUnavailableError(f"cannot join: {file} is not there yet") from None
    except OSError as error:
        raise errors.AgentError(f"cannot read the join token {file}: {error.strerror}") from error


async def host_facts(
    sampler: ports.Sampler,
    supervisor: ports.Supervisor,
    toolchains: Toolchains,
    sources: tuple[tuple[str, str], ...] = (),
) -> ports.HostFacts:
    """What the control plane should know of this host, capabilities as they are really enforced."""
    hostname, system, cpus, memory, disk, addresses = await asyncio.to_thread(sampler.facts)
    info = await supervisor.hello()
    runtimes = await asyncio.to_thread(toolchains.available)
    volumes = (("volumes", "any"),) if dict(info.capabilities).get("volumes") == VOLUMES else ()
    return ports.HostFacts(
        hostname=hostname,
        os=system,
        cpus=cpus,
        memory_bytes=memory,
        disk_bytes=disk,
        addresses=addresses,
        capabilities=(*map(_with_disk, info.capabilities), *CAPABILITIES, *volumes, *sources),
        runtimes=tuple((name, ",".join(versions)) for name, versions in sorted(runtimes.items())),
    )


def _with_disk(said: tuple[str, str]) -> tuple[str, str]:
    """The supervisor says which limits it enforces; that of the disk is our own."""
    name, words = said
    return (name, ",".join([*filter(None, words.split(",")), "disk"])) if name == "limits" else said


def source_capabilities(settings: config.Settings, *, is_hidden: bool) -> tuple[tuple[str, str], ...]:
    """What sources may be, beside https: by the operator's choice, and by what the host has."""
    known = "known_hosts" if settings.ssh_known_hosts else "pinned"
    podman = (
        "podman is not installed" if shutil.which("podman") is None else "this agent does not run images with podman"
    )
    return (
        ("ssh_remotes", known if settings.allow_ssh_remotes else "no"),
        ("images", f"no: {podman}"),
        ("git_sandbox", "bubblewrap" if is_hidden else "none"),
    )


@contextlib.asynccontextmanager
async def _supervisor(paths: Paths) -> AsyncIterator[SupervisorClient]:
    client = SupervisorClient(paths)
    try:
        await client.connect(timeout=30.0)
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _journal(paths: Paths) -> AsyncIterator[Journal]:
    journal = await Journal.open(paths.journal)
    try:
        yield journal
    finally:
        await journal.close()


@contextlib.asynccontextmanager
async def _hits(paths: Paths) -> AsyncIterator[RequestCounts]:
    """How requests to canaries end. Where nginx could not be told the path nothing is counted, and time alone decides."""
    counts = RequestCounts()
    path = render.hits_socket(paths)
    async with listening(pathlib.Path(path), counts, nginx_uid(paths)) if path else contextlib.nullcontext():
        yield counts


async def _report(manager: ServiceManager) -> None:
    """Ready with supervisor and journal: joining takes as long as the control plane is away. Then alive while we turn."""
    manager.ready()
    while manager.ping_s:
        manager.alive()
        await asyncio.sleep(manager.ping_s)


async def _until_signal(manager: ServiceManager) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()
    manager.stopping()
    raise Stopped


def use_pidfds() -> None:
    """Python 3.11 would start a thread for each child; later versions use pidfds by themselves."""
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)
