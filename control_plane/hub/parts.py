"""What the hub is given: the services that it calls, as narrow as it needs them."""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from control_plane import errors, ports
from control_plane.domain import values


class Desired(Protocol):
    async def newer_than(self, instance_id: str, known: Mapping[str, int]) -> tuple[values.Desired, ...]: ...
    async def acknowledged(self, instance_id: str, service_id: str, generation: int) -> None: ...


class Status(Protocol):
    async def record(self, instance_id: str, epoch: int, report: values.ServiceReport) -> None: ...


class Instances(Protocol):
    async def enrol(self, secret: str, hostname: str) -> values.Instance: ...
    async def connected(self, instance_id: str, agent_version: str, boot_id: str, facts: dict[str, Any]) -> int: ...
    async def disconnected(self, instance_id: str, epoch: int) -> None: ...
    async def heartbeat(self, instance_id: str, epoch: int) -> None: ...
    async def record_sample(self, instance_id: str, sample: values.Sample) -> None: ...


class Audit(Protocol):
    async def refused(self, instance_id: str, target: str, issue: str) -> None:
        """Write down that an instance tried what is not its own."""
        ...


class NoArchives:
    """ports.Archives of an installation that takes no uploads."""

    async def open(self, instance_id: str, archive: str) -> AsyncIterator[bytes]:
        raise errors.NotFoundError(f"cannot send archive {archive[:64]!r} to {instance_id}: nothing was uploaded here")


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    desired: Desired
    status: Status
    instances: Instances
    audit: Audit
    notifier: ports.Notifier
    archives: ports.Archives = dataclasses.field(default_factory=NoArchives)
