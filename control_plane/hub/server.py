"""The hub's two listeners: enrolment (the server's certificate alone) and the hub itself (mutual TLS).

Who calls is the SPIFFE id of the client certificate. One session per instance: the newest epoch holds the identity,
an older stream is fenced and closed.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any

import grpc
import structlog

from control_plane import clock, errors, ports
from control_plane.hub import enrol, wire
from control_plane.hub.certificate import ServerCertificate
from control_plane.hub.parts import Services
from control_plane.hub.refusals import Refusals
from control_plane.hub.relay import Relay
from control_plane.hub.runs import Runs
from control_plane.hub.session import Session
from control_plane.hub.settings import SERVER, HubSettings
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc

log = structlog.get_logger()

PIECE_BYTES = 256 << 10  # of an archive on its way to an agent


class HubServer:
    """`start` listens, `stop` ends every session and closes both listeners; a stopped one is not started again."""

    def __init__(
        self,
        services: Services,
        authority: ports.CertificateAuthority,
        relay: Relay,
        now: clock.Clock,
        settings: HubSettings,
        runs: Runs | None = None,
    ) -> None:
        self._settings = settings
        self._authority = authority
        self._certificate = ServerCertificate(authority, settings.names, now)
        self._hub = _Hub(services, authority, relay, now, settings, runs or Runs())
        self._enrolment = enrol.Enrolment(services.instances, authority)
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> tuple[int, int]:
        """Listen; (hub port, enrolment port). Raises UnavailableError when a port cannot be had."""
        hub = grpc.aio.server(options=SERVER)
        rpc.add_HubServicer_to_server(self._hub, hub)
        hub_port = _listen(hub, self._settings.host, self._settings.hub_port, self._certificate.credentials())
        enrolment = grpc.aio.server(options=SERVER)
        rpc.add_EnrolmentServicer_to_server(self._enrolment, enrolment)
        credentials = grpc.ssl_server_credentials([self._authority.enrolment_pair()])
        enrol_port = _listen(enrolment, self._settings.host, self._settings.enrol_port, credentials)
        self._servers = [hub, enrolment]
        for server in self._servers:
            await server.start()
        log.info("hub.listening", host=self._settings.host, hub_port=hub_port, enrol_port=enrol_port)
        return hub_port, enrol_port

    async def stop(self, grace: float) -> None:
        """End the sessions in order, then the listeners; after `grace` seconds whatever is left is cut."""
        self._hub.end_all()
        await asyncio.gather(*(server.stop(grace) for server in self._servers))
        self._servers = []


class _Hub(rpc.HubServicer):
    """The calls of connected agents."""

    def __init__(
        self,
        services: Services,
        authority: ports.CertificateAuthority,
        relay: Relay,
        now: clock.Clock,
        settings: HubSettings,
        runs: Runs,
    ) -> None:
        self._services = services
        self._authority = authority
        self._relay = relay
        self._runs = runs
        self._clock = now
        self._settings = settings
        self._sessions: dict[str, Session] = {}
        self._sampling: set[str] = set()
        self._refusals = Refusals(now)
        self._stopping = False

    def end_all(self) -> None:
        self._stopping = True
        for session in self._sessions.values():
            session.end()

    async def Connect(  # type: ignore[override]  # noqa: N802  the wire's name; a coroutine that writes is legal too
        self,
        request_iterator: AsyncIterator[pb.AgentMessage],
        context: grpc.aio.ServicerContext[pb.AgentMessage, pb.HubMessage],
    ) -> None:
        async with enrol.answering(context):
            session = await self._begin(wire.instance_of(_peer(context)), request_iterator)
        try:
            self._enter(session)
            await session.run(request_iterator, functools.partial(_write, context))
        finally:
            await self._leave(session)

    async def SendLogs(  # noqa: N802
        self,
        request_iterator: AsyncIterator[pb.LogBatch],
        context: grpc.aio.ServicerContext[pb.LogBatch, pb.LogsDone],
    ) -> pb.LogsDone:
        async with enrol.answering(context):
            await self._relay.receive(self._caller(context), request_iterator)
        return pb.LogsDone()

    async def SendRun(  # noqa: N802
        self,
        request_iterator: AsyncIterator[pb.RunPiece],
        context: grpc.aio.ServicerContext[pb.RunPiece, pb.RunDone],
    ) -> pb.RunDone:
        async with enrol.answering(context):
            await self._runs.receive(self._caller(context), request_iterator)
        return pb.RunDone()

    async def FetchArchive(  # type: ignore[override]  # noqa: N802
        self,
        request: pb.ArchiveRequest,
        context: grpc.aio.ServicerContext[pb.ArchiveRequest, pb.ArchivePiece],
    ) -> None:
        async with enrol.answering(context):
            whole = await self._services.archives.open(self._caller(context), request.archive[: wire.MAX_WORD])
            try:
                async for part in whole:
                    for at in range(0, len(part), PIECE_BYTES):
                        await context.write(pb.ArchivePiece(data=part[at : at + PIECE_BYTES]))
            finally:
                if isinstance(whole, AsyncGenerator):  # also when the agent went away
                    await whole.aclose()

    async def SendSample(  # noqa: N802
        self, request: pb.Sample, context: grpc.aio.ServicerContext[pb.Sample, pb.SampleReply]
    ) -> pb.SampleReply:
        async with enrol.answering(context):
            instance_id = self._caller(context)
            with self._one_sample(instance_id):
                await self._services.instances.record_sample(instance_id, wire.sample(instance_id, request))
        return pb.SampleReply()

    async def Renew(  # noqa: N802
        self, request: pb.RenewRequest, context: grpc.aio.ServicerContext[pb.RenewRequest, pb.EnrolReply]
    ) -> pb.EnrolReply:
        async with enrol.answering(context):
            instance_id = self._caller(context)
            certificate = self._authority.issue_instance(request.csr_pem, instance_id)
            log.info("hub.renewed", instance=instance_id)
        return pb.EnrolReply(instance_id=instance_id, certificate_pem=certificate, ca_pem=self._authority.ca_pem)

    @contextlib.contextmanager
    def _one_sample(self, instance_id: str) -> Iterator[None]:
        """Many at once of one instance would be many in the queue for the writer, ahead of everybody else's changes."""
        if instance_id in self._sampling:
            raise errors.RateLimitedError("cannot take the sample: the one before it is not stored yet")
        self._sampling.add(instance_id)
        try:
            yield
        finally:
            self._sampling.discard(instance_id)

    def _caller(self, context: Any) -> str:
        """The instance that calls beside its stream; one without a session is unknown or gone."""
        instance_id = wire.instance_of(_peer(context))
        if instance_id not in self._sessions:
            raise errors.ConflictError(f"cannot serve instance {instance_id}: it has no session; connect first")
        return instance_id

    async def _begin(self, instance_id: str, messages: AsyncIterator[pb.AgentMessage]) -> Session:
        """Read the hello and take the identity over. The epoch is raised in one statement of the store."""
        hello = await _hello(messages, self._settings.hello_s)
        if self._stopping:
            raise errors.UnavailableError("cannot connect: the control plane is stopping; try again")
        epoch = await self._services.instances.connected(
            instance_id, hello.agent_version[: wire.MAX_WORD], hello.boot_id[: wire.MAX_WORD], wire.facts(hello.host)
        )
        known = {str(service): int(generation) for service, generation in hello.generations.items()}
        return Session(instance_id, epoch, known, self._services, self._settings, self._clock, self._refusals)

    def _enter(self, session: Session) -> None:
        """Of two sessions the one with the higher epoch stays, whichever came here first."""
        other = self._sessions.get(session.instance_id)
        if other is not None and other.epoch > session.epoch:
            session.end(fenced="a newer session holds this identity")
            return
        if other is not None:
            log.warning("hub.fenced", instance=other.instance_id, epoch=other.epoch, by=session.epoch)
            other.end(fenced="a newer session holds this identity")
        self._sessions[session.instance_id] = session
        self._relay.attach(session.instance_id, session)
        self._runs.attach(session.instance_id, session)
        if self._stopping:
            session.end()
        log.info("hub.connected", instance=session.instance_id, epoch=session.epoch)

    async def _leave(self, session: Session) -> None:
        await self._relay.detach(session.instance_id, session)
        await self._runs.detach(session.instance_id, session)
        if self._sessions.get(session.instance_id) is session:
            del self._sessions[session.instance_id]
        try:
            await self._services.instances.disconnected(session.instance_id, session.epoch)
        except errors.DployrError as error:  # its lease ends by itself
            log.warning("hub.leave_unrecorded", instance=session.instance_id, error=str(error))
        log.info("hub.disconnected", instance=session.instance_id, epoch=session.epoch)


async def _hello(messages: AsyncIterator[pb.AgentMessage], timeout_s: float) -> pb.Hello:
    with contextlib.suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(timeout_s):
            first = await anext(messages)
        if first.WhichOneof("message") == "hello":
            return first.hello
    raise errors.InvalidError(f"cannot connect: no hello came first within {timeout_s} s")


async def _write(context: grpc.aio.ServicerContext[Any, pb.HubMessage], message: pb.HubMessage) -> None:
    await context.write(message)


def _peer(context: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = context.auth_context()
    return found


def _listen(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise errors.UnavailableError(f"cannot listen on {address}: {error}; choose another port") from error
    if bound == 0:
        raise errors.UnavailableError(f"cannot listen on {address}: the port is taken; choose another one")
    return bound
