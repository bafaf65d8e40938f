"""Enrolment: a single-use join token and a CSR become an instance with a certificate."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog

from control_plane import errors, ports
from control_plane.hub import wire
from control_plane.hub.parts import Instances
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def answering(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Turn our errors into the status that the wire has for their kind."""
    try:
        yield
    except errors.DployrError as error:
        log.warning("hub.refused", peer=context.peer(), kind=error.kind.value, error=error.message)
        await context.abort(wire.STATUS[error.kind], error.message)


class Enrolment(rpc.EnrolmentServicer):
    """The CSR is checked before the token is spent: a broken agent does not use it up."""

    def __init__(self, instances: Instances, authority: ports.CertificateAuthority) -> None:
        self._instances = instances
        self._authority = authority

    async def Enrol(  # noqa: N802  the wire's name
        self, request: pb.EnrolRequest, context: grpc.aio.ServicerContext[pb.EnrolRequest, pb.EnrolReply]
    ) -> pb.EnrolReply:
        async with answering(context):
            self._authority.check_csr(request.csr_pem)
            hostname = request.hostname[: wire.MAX_WORD].replace("\0", "")
            instance = await self._instances.enrol(request.join_token[: wire.MAX_WORD], hostname)
            certificate = self._authority.issue_instance(request.csr_pem, instance.id)
            log.info("hub.enrolled", instance=instance.id, name=instance.name)
        return pb.EnrolReply(instance_id=instance.id, certificate_pem=certificate, ca_pem=self._authority.ca_pem)
