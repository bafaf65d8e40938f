"""In-memory neighbours of the wire's two ends, and both ends on loopback with real certificates."""

import asyncio
import contextlib
import dataclasses
import pathlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from control_plane import clock as cp_clock
from control_plane import errors as cp_errors
from control_plane.certificates.authority import Authority
from control_plane.domain import values
from control_plane.fakes.archives import MemoryArchives
from control_plane.hub import parts, settings
from control_plane.hub.relay import Relay
from control_plane.hub.runs import Runs
from control_plane.hub.server import HubServer
from node_agent import clock as agent_clock
from node_agent import errors, ports
from node_agent.model import log, spec, status
from node_agent.model.crash import Crash, Kind
from node_agent.model.run import Ending, RunSpec, VolumeSpec
from node_agent.paths import Paths
from node_agent.session import identity
from node_agent.session.archives import HubArchives
from node_agent.session.client import Session
from node_agent.session.settings import SessionSettings
from tests.waiting import wait_until_async

INSTANCE = "ins_" + "0" * 26
SERVICE = "svc_" + "A" * 26
FOREIGN = "svc_" + "B" * 26
SECRET = "5" * 64
QUICK_HUB = settings.HubSettings(heartbeat_s=1, sample_s=1, lease_s=5.0, resend_s=0.1, hello_s=2.0, farewell_s=0.5)
QUICK_RELAY = settings.RelaySettings(max_batches=4, resume_s=10.0, retry_s=0.05, send_s=2.0)
QUICK_AGENT = SessionSettings(
    backoff_s=0.02, backoff_max_s=0.1, refused_s=0.1, call_s=5.0, resend_s=0.1, heartbeat_s=0.1, sample_s=0.1
)


def a_wish(generation: int = 1, service_id: str = SERVICE, run: values.Run = values.Run.RUNNING) -> values.Desired:
    moment = cp_clock.SystemClock().now()
    config = values.Config(
        source="remote",
        remote="https://example.com/app.git",
        branch="main",
        commit="",
        runtime="nodejs",
        version="22",
        build_cmd="npm ci",
        run_cmd="node .",
        working_dir="",
        static_dir="",
        port=3000,
        env=(values.Variable("A", "1"), values.Variable("B", "2")),
        health_check=values.HealthCheck(kind="http", path="/up"),
    )
    release = values.Release("rel_x", "dep_x", 3, config, "abc", "pending", "", "", moment, moment)
    route = values.Route("rte_" + "C" * 26, "prj_x", service_id, "a.example.com", "/", 3000, "pending", "", moment)
    return values.Desired(service_id, generation, "web", run, 2, release, (route,))


CRASH = Crash(Kind.OOM, 9, "more than 64 MiB of memory", 5.5, 2.5, 0.5, 64 << 20, ("one", "two"))


def a_report(message: str = "", service_id: str = SERVICE, generation: int = 1) -> status.ServiceReport:
    return status.ServiceReport(
        service_id=service_id,
        observed_generation=generation,
        status="running",
        health="healthy",
        live_release=3,
        message=message,
        releases=(status.ReleaseReport(3, status.ReleaseState.LIVE, commit="abc", changed_at=5.0),),
        processes=(status.ProcessReport("web", 3, "running", 42, 20001, 6.0, 1, "oom", CRASH),),
        routes=(status.RouteReport("rte_" + "C" * 26, "active"),),
    )


class Notifier:
    """Counts nothing: a hint per instance."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def instance_changed(self, instance_id: str) -> None:
        self._events.setdefault(instance_id, asyncio.Event()).set()

    async def wait(self, instance_id: str, timeout_s: float) -> bool:
        event = self._events.setdefault(instance_id, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        event.clear()
        return True


class Desired:
    """`ignore_acks` swallows that many acknowledgements' notes; the wire is not touched."""

    def __init__(self) -> None:
        self.wishes: dict[str, values.Desired] = {}
        self.acknowledgements: list[tuple[str, str, int]] = []
        self.asked = 0
        self.fail_acks = 0

    async def newer_than(self, instance_id: str, known: Any) -> tuple[values.Desired, ...]:
        self.asked += 1
        return tuple(wish for wish in self.wishes.values() if wish.generation > known.get(wish.service_id, 0))

    async def acknowledged(self, instance_id: str, service_id: str, generation: int) -> None:
        self.acknowledgements.append((instance_id, service_id, generation))
        if self.fail_acks:
            self.fail_acks -= 1
            raise cp_errors.UnavailableError("cannot write: the database is busy")


class Status:
    def __init__(self) -> None:
        self.reports: list[values.ServiceReport] = []
        self.busy = 0
        self.attempts = 0

    async def record(self, instance_id: str, epoch: int, report: values.ServiceReport) -> None:
        self.attempts += 1
        if self.busy:
            self.busy -= 1
            raise cp_errors.UnavailableError("cannot write: the database is busy")
        if report.service_id == FOREIGN:
            raise cp_errors.ForbiddenError(f"cannot report for {FOREIGN}: it is not on this instance")
        self.reports.append(report)


class Instances:
    def __init__(self) -> None:
        self.secrets = {SECRET}
        self.epochs: dict[str, int] = {}
        self.online: set[str] = set()
        self.facts: dict[str, Any] = {}
        self.heartbeats = 0
        self.samples: list[values.Sample] = []
        self.removed: set[str] = set()
        self._ids = cp_clock.SystemIds()

    async def enrol(self, secret: str, hostname: str) -> values.Instance:
        await asyncio.sleep(0)
        if secret not in self.secrets:
            raise cp_errors.UnauthenticatedError("cannot join: the token is unknown, used or expired; make a new one")
        self.secrets.remove(secret)
        instance_id = self._ids.new("ins")
        self.epochs[instance_id] = 0
        return values.Instance(instance_id, hostname, 0, False, None, "", "", {}, cp_clock.SystemClock().now())

    async def connected(self, instance_id: str, agent_version: str, boot_id: str, facts: dict[str, Any]) -> int:
        if instance_id not in self.epochs:
            raise cp_errors.ForbiddenError(f"cannot connect: instance {instance_id} is unknown; join again")
        self.epochs[instance_id] += 1
        self.online.add(instance_id)
        self.facts = facts
        return self.epochs[instance_id]

    async def disconnected(self, instance_id: str, epoch: int) -> None:
        if self.epochs[instance_id] == epoch:
            self.online.discard(instance_id)

    async def heartbeat(self, instance_id: str, epoch: int) -> None:
        self.heartbeats += 1
        if instance_id in self.removed:
            raise cp_errors.ForbiddenError(f"cannot go on as {instance_id}: the instance was removed; join again")

    async def record_sample(self, instance_id: str, sample: values.Sample) -> None:
        self.samples.append(sample)


class Audit:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    async def refused(self, instance_id: str, target: str, issue: str) -> None:
        self.rows.append((instance_id, target, issue))


class Inbox:
    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.accepted: list[spec.ServiceSpec] = []
        self.effects: list[spec.ServiceSpec] = []

    async def accept(self, wanted: spec.ServiceSpec) -> int:
        self.accepted.append(wanted)
        if wanted.generation > self.held.get(wanted.service_id, 0):
            self.held[wanted.service_id] = wanted.generation
            self.effects.append(wanted)
        return self.held[wanted.service_id]

    async def generations(self) -> dict[str, int]:
        return dict(self.held)


class Spool:
    def __init__(self) -> None:
        self.reports: dict[int, status.ServiceReport] = {}
        self._sequence = 0
        self._changed = asyncio.Condition()

    async def add(self, report: status.ServiceReport) -> int:
        async with self._changed:
            self._sequence += 1
            self.reports[self._sequence] = report
            self._changed.notify_all()
            return self._sequence

    async def pending(self) -> tuple[tuple[int, status.ServiceReport], ...]:
        return tuple(sorted(self.reports.items()))

    async def acknowledge(self, sequence: int) -> None:
        self.reports.pop(sequence, None)

    async def wait(self, after: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._sequence > after)


class LogStore:
    """One log; a follower gets each new line in a batch of its own. `readers` counts those that are open."""

    def __init__(self) -> None:
        self.lines: list[log.LogLine] = []
        self.readers = 0
        self.asked: list[log.LogQuery] = []
        self._changed = asyncio.Condition()
        self.deleted = False

    async def append(self, *texts: str, time: float = 1.0, stream: str = "stdout", process: str = "web.1") -> None:
        async with self._changed:
            for text in texts:
                self.lines.append(log.LogLine(len(self.lines) + 1, time, stream, process, 1, text.encode()))
            self._changed.notify_all()

    async def delete(self) -> None:
        async with self._changed:
            self.deleted = True
            self._changed.notify_all()

    async def read(self, query: log.LogQuery) -> AsyncIterator[log.LogBatch]:
        self.readers += 1
        self.asked.append(query)
        try:
            if query.service_id != SERVICE:
                raise OSError(f"cannot read the log of {query.service_id}: there is none")
            matching = [line for line in self.lines if line.seq > query.after_seq and _matches(line, query)]
            seen = len(self.lines)
            tail = matching if query.after_seq else matching[max(0, len(matching) - query.tail) :]
            yield log.LogBatch(tuple(tail), caught_up=True)
            while query.follow and not self.deleted:
                async with self._changed:
                    while len(self.lines) <= seen and not self.deleted:
                        await self._changed.wait()
                for line in self.lines[seen:]:
                    seen = line.seq
                    if _matches(line, query):
                        yield log.LogBatch((line,))
        finally:
            self.readers -= 1


class Runner:
    """Runs `echo WORDS`, `exit N`, `flood N` and `hang`, joined by `;`, for SERVICE alone. `running` counts.

    What `keep` put into a volume is written out, and what is restored into one is `restored`.
    """

    def __init__(self) -> None:
        self.restored: dict[tuple[str, str], str] = {}
        self._volumes: dict[tuple[str, str], bytes] = {}
        self.running = 0
        self.asked: list[RunSpec | VolumeSpec] = []
        self.written = 0

    def keep(self, service_id: str, volume: str, data: bytes) -> None:
        self._volumes[service_id, volume] = data

    async def run(self, wanted: RunSpec | VolumeSpec, write: Callable[[str, bytes], Awaitable[None]]) -> Ending:
        self.asked.append(wanted)
        if isinstance(wanted, VolumeSpec):
            return await self._of_volume(wanted, write)
        if wanted.service_id != SERVICE:
            raise errors.NotRunnableError(f"cannot run a command: {wanted.service_id} has no live release")
        self.running += 1
        try:
            async with asyncio.timeout(wanted.timeout_s):
                return await self._interpret(wanted.command, write)
        except TimeoutError:
            return Ending("timeout", 9)
        finally:
            self.running -= 1

    async def _of_volume(self, wanted: VolumeSpec, write: Callable[[str, bytes], Awaitable[None]]) -> Ending:
        place = (wanted.service_id, wanted.volume)
        if wanted.archive:
            self.restored[place] = wanted.archive
        else:
            await write("stdout", self._volumes[place])
        return Ending("exited", 0)

    async def _interpret(self, command: str, write: Callable[[str, bytes], Awaitable[None]]) -> Ending:
        for step in command.split(";"):
            word, _, rest = step.strip().partition(" ")
            if word == "echo":
                await write("stdout", f"{rest}\n".encode())
            elif word == "exit":
                return Ending("exited", int(rest))
            elif word == "flood":
                for _ in range(int(rest)):
                    await write("stdout", b"x" * 65536)
                    self.written += 65536
            else:
                await asyncio.Event().wait()
        return Ending("exited", 0)


def _matches(line: log.LogLine, query: log.LogQuery) -> bool:
    fits = query.wants(line.process, line.release, line.stream) and query.wants_time(line.time)
    return fits and query.grep in line.line


class Hub:
    """The control plane's end with its fakes; `start` again after `stop` listens on the same ports."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.clock = cp_clock.SystemClock()
        self.authority = Authority.load_or_create(directory / "ca", self.clock)
        self.desired, self.status, self.instances = Desired(), Status(), Instances()
        self.audit, self.notifier = Audit(), Notifier()
        self.relay = Relay(cp_clock.SystemIds(), QUICK_RELAY)
        self.runs = Runs(settings.RunSettings(begin_s=2.0))
        self.archives = MemoryArchives()
        self.settings = QUICK_HUB
        self.services: parts.Services | None = None  # others than the fakes
        self.secret = SECRET
        self.server: HubServer | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.settings.hub_port}"

    @property
    def enrol_address(self) -> str:
        return f"127.0.0.1:{self.settings.enrol_port}"

    @property
    def token(self) -> str:
        return f"{self.secret}.{self.authority.fingerprint()}"

    async def start(self) -> None:
        own = parts.Services(self.desired, self.status, self.instances, self.audit, self.notifier, self.archives)
        self.server = HubServer(self.services or own, self.authority, self.relay, self.clock, self.settings, self.runs)
        hub, enrol = await self.server.start()
        self.settings = dataclasses.replace(self.settings, hub_port=hub, enrol_port=enrol)

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.stop(2.0)

    def wish(self, wish: values.Desired) -> None:
        self.desired.wishes[wish.service_id] = wish
        for instance_id in self.instances.epochs:
            self.notifier.instance_changed(instance_id)


class Agent:
    """The agent's end with its fakes; its memory outlives its sessions."""

    def __init__(self, hub: Hub, directory: pathlib.Path) -> None:
        self.hub = hub
        self.paths = Paths(directory)
        self.inbox, self.spool, self.logs = Inbox(), Spool(), LogStore()
        self.runner, self.archives = Runner(), HubArchives(fetch_s=10.0, retry_s=0.05)
        self.identity: identity.Identity | None = None
        self.address = ""  # of the hub, when not its own
        self.clock: Any = agent_clock.SystemClock()
        self.settings = QUICK_AGENT
        self.session: Session | None = None
        self._task: asyncio.Task[None] | None = None

    async def join(self) -> identity.Identity:
        self.hub.instances.secrets.add(SECRET)
        self.identity = await identity.enrol(self.paths, self.hub.token, self.hub.enrol_address, "host-a")
        return self.identity

    def start(self) -> asyncio.Task[None]:
        assert self.identity is not None
        self.session = Session(
            self.address or self.hub.address,
            self.identity,
            inbox=self.inbox,
            spool=self.spool,
            log_reader=self.logs,
            runner=self.runner,
            archives=self.archives,
            facts=self.facts,
            samples=self.sample,
            clock=self.clock,
            chance=random.Random(1),
            settings=self.settings,
        )
        self._task = asyncio.create_task(self.session.run())
        return self._task

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def connected(self) -> None:
        await wait_until_async(lambda: self.session and self.session.connected, what="the connection")

    async def facts(self) -> ports.HostFacts:
        return ports.HostFacts(
            "host-a", "linux", 2, 1024, 2048, ("127.0.0.1",), (("limits", "none"),), (("nodejs", "22"),)
        )

    async def sample(self) -> ports.HostSample:
        return ports.HostSample(7.0, '{"cpu": 1}', "cpu 1\n")


class Cable:
    """TCP that fails on demand: `cut` breaks what is open, `flows` cleared lets everything hang without a word."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.address = ""
        self.flows = asyncio.Event()
        self.flows.set()
        self._writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def plugged(self) -> AsyncIterator["Cable"]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.flows.set()
            self.cut()
            await server.wait_closed()
            await wait_until_async(lambda: not self._writers)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _carry(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.hub.settings.hub_port)
            await asyncio.gather(self._copy(near_reader, far), self._copy(far_reader, near))
        near.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    await self.flows.wait()
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()
            self._writers.discard(writer)


@contextlib.asynccontextmanager
async def a_hub(directory: pathlib.Path) -> AsyncIterator[Hub]:
    hub = Hub(directory)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


@contextlib.asynccontextmanager
async def an_agent(hub: Hub, directory: pathlib.Path) -> AsyncIterator[Agent]:
    """Joined and connected."""
    agent = Agent(hub, directory)
    await agent.join()
    agent.start()
    try:
        await agent.connected()
        yield agent
    finally:
        await agent.stop()


async def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
    return await wait_until_async(condition, timeout=10.0, what=what)
