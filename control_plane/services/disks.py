"""What uses the disks of instances."""

import dataclasses

from control_plane import errors
from control_plane.domain import disk_use, values
from control_plane.services.context import Context, instance_of


class Disks:
    """The use case of `/v1/instances/:id/disk`. Who may read what an instance measures sees all of its services."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def of(self, principal: values.Principal, id_or_name: str) -> disk_use.DiskUse:
        """UnavailableError while nothing is known. A service of another instance is not named, whatever an agent says."""
        async with self._context.store.read() as tx:
            found = await instance_of(tx, principal, id_or_name, "instance:metrics")
            sample = await tx.get_sample(found.id)
            told = disk_use.of(sample) if sample else None
            if told is None:
                raise errors.UnavailableError(
                    f"cannot show the disk of instance {found.name!r}: its agent has not told of it yet; try again in a "
                    "few seconds, or update the agent",
                    {"instance": found.id},
                )
            known = await tx.services_by_id([one.service_id for one in told.services])
        named = tuple(
            dataclasses.replace(one, service=service)
            if (service := known.get(one.service_id)) is not None and service.instance_id == found.id
            else one
            for one in told.services
        )
        return dataclasses.replace(told, services=named)
