"""One stream to the hub, from hello to its end.

Reading never waits for writing: wishes are stored and noted, acknowledgements go out by a job of their own. So both
ends always read, and flow control can slow them but never lock them. Reports go up until they are acknowledged.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from typing import NoReturn

import grpc
import structlog

import failpoints
from node_agent import clock, errors, ports
from node_agent.clock import Chance
from node_agent.session import identity, wire
from node_agent.session.archives import HubArchives
from node_agent.session.logs import LogCalls
from node_agent.session.runs import RunCalls
from node_agent.session.settings import SessionSettings
from node_agent.session.tasks import undisturbed, until_first
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc

log = structlog.get_logger()

HubCall = grpc.aio.StreamStreamCall[pb.AgentMessage, pb.HubMessage]


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """What a session works with; see client.Session."""

    inbox: ports.Inbox
    spool: ports.Spool
    log_reader: ports.LogReader
    runner: ports.Runner
    archives: HubArchives
    facts: Callable[[], Awaitable[ports.HostFacts]]
    samples: Callable[[], Awaitable[ports.HostSample]]
    clock: clock.Clock
    chance: Chance
    settings: SessionSettings
    version: str
    boot_id: str


class Renewed(Exception):  # noqa: N818  not a failure
    """There is a new certificate, and the next connection shall use it."""

    def __init__(self, new: identity.Identity) -> None:
        super().__init__(new.instance_id)
        self.identity = new


class Stream:
    """`open`, then `run`, and `close` in any case."""

    def __init__(self, stub: "rpc.HubAsyncStub", parts: Parts, who: identity.Identity) -> None:
        self._stub = stub
        self._parts = parts
        self._identity = who
        self._call: HubCall = stub.Connect()
        self._logs = LogCalls(stub, parts.log_reader, parts.settings.log_calls, parts.settings.call_s)
        self._runs = RunCalls(stub, parts.runner, parts.settings.runs, parts.settings.call_s)
        self._writing = asyncio.Lock()
        self._acks: dict[str, int] = {}
        self._acked = asyncio.Event()
        self._ignored: set[tuple[str, int]] = set()

    async def open(self) -> pb.Welcome:
        """Say hello and be welcomed. Raises AioRpcError, TimeoutError, FencedError or ControlPlaneUnavailableError."""
        parts = self._parts
        async with asyncio.timeout(parts.settings.call_s):
            generations = await parts.inbox.generations()
            await self._write(wire.hello(parts.version, parts.boot_id, generations, await parts.facts()))
            first = await self._read()
        if first is not None and first.HasField("fenced"):
            _fenced(first.fenced)
        if first is None or not first.HasField("welcome"):
            raise errors.ControlPlaneUnavailableError("cannot connect: the control plane ended the stream at once")
        return first.welcome

    async def run(self, welcome: pb.Welcome) -> None:
        """Returns when the hub ended the stream. Raises AioRpcError, InvalidStateError, FencedError or Renewed."""
        settings = self._parts.settings
        self._parts.archives.attach(self._stub)
        await until_first(
            self._receive(),
            self._send_acks(),
            self._send_reports(),
            self._beat(settings.heartbeat_s or welcome.heartbeat_s or 10),
            self._measure(settings.sample_s or welcome.sample_s or 15),
            self._renew(),
            self._logs.run(),
            self._runs.run(),
        )

    def close(self) -> None:
        self._parts.archives.detach()
        self._call.cancel()

    async def _write(self, message: pb.AgentMessage) -> None:
        async with self._writing:
            await self._call.write(message)

    async def _read(self) -> pb.HubMessage | None:
        message = await self._call.read()
        return message if isinstance(message, pb.HubMessage) else None

    async def _receive(self) -> None:
        while (message := await self._read()) is not None:
            match message.WhichOneof("message"):
                case "desired":
                    await self._accept(message.desired)
                case "report_ack":
                    await undisturbed(self._parts.spool.acknowledge(message.report_ack.sequence))
                case "logs":
                    self._logs.start(message.logs)
                case "logs_cancel":
                    self._logs.cancel(message.logs_cancel.request_id)
                case "run":
                    self._runs.start(message.run)
                case "volume":
                    self._runs.start(message.volume)
                case "run_cancel":
                    self._runs.cancel(message.run_cancel.run_id)
                case "fenced":
                    _fenced(message.fenced)
                case _:
                    pass  # a word of a newer control plane

    @failpoints.around("wish.take")
    async def _accept(self, state: pb.ServiceState) -> None:
        """Store the wish, then have it acknowledged with the generation that is held. What is unknown is left out."""
        wanted = wire.wish(state)
        if wanted is None:
            self._ignore(state, "it says what this version does not know")
            return
        try:
            held = await undisturbed(self._parts.inbox.accept(wanted))
        except errors.AgentError as error:  # not acknowledged, so it comes again
            self._ignore(state, str(error))
            return
        if held == wanted.generation:
            log.info(
                "session.wish_taken", service=wanted.service_id, generation=held, request_id=wire.request_id(state)
            )
        self._acks[wanted.service_id] = held
        self._acked.set()

    def _ignore(self, state: pb.ServiceState, why: str) -> None:
        """It is sent again and again: say so once."""
        key = (state.service_id, state.generation)
        if key not in self._ignored:
            self._ignored.add(key)
            log.warning("session.wish_not_taken", service=key[0], generation=key[1], why=why)

    async def _send_acks(self) -> None:
        while True:
            await self._acked.wait()
            self._acked.clear()
            while self._acks:
                await self._write(wire.ack(*self._acks.popitem()))

    async def _send_reports(self) -> None:
        """Each waiting report once, and again when its acknowledgement does not come."""
        spool, resend_s = self._parts.spool, self._parts.settings.resend_s
        sent: dict[int, float] = {}
        newest = 0
        while True:
            waiting = await spool.pending()
            for sequence, report in waiting:
                now = self._parts.clock.monotonic()
                if sequence not in sent or now - sent[sequence] >= resend_s:
                    await self._write(wire.report(sequence, report))
                    sent[sequence] = now
            sent = {sequence: sent[sequence] for sequence, _ in waiting}
            newest = max(newest, *sent) if sent else newest
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(resend_s):
                    await spool.wait(newest)

    async def _beat(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s * self._parts.chance.uniform(0.8, 1.0))
            await self._write(wire.heartbeat())

    async def _measure(self, interval_s: float) -> None:
        """Samples are the first thing to go without: nothing waits for them, and a lost one is not repeated."""
        while True:
            try:
                sample = wire.sample(await self._parts.samples())
                await self._stub.SendSample(sample, timeout=self._parts.settings.call_s)
            except Exception as error:  # whatever goes wrong while measuring, the session is worth more
                log.info("session.sample_lost", error=f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(interval_s)

    async def _renew(self) -> None:
        """Ends the stream by Renewed when there is a new certificate: connections do not change theirs."""
        settings = self._parts.settings
        while True:
            left = self._identity.renew_at - self._parts.clock.now()
            if left > 0:
                await asyncio.sleep(min(left, settings.renew_look_s))
                continue
            try:
                raise Renewed(await identity.renew(self._identity, self._stub))
            except (grpc.aio.AioRpcError, errors.AgentError, OSError) as error:
                log.warning("session.not_renewed", error=str(error)[:200])
                await asyncio.sleep(settings.refused_s)


def _fenced(message: pb.Fenced) -> NoReturn:
    raise errors.FencedError(f"cannot act for this instance any more: {message.reason}; see which host runs its agent")
