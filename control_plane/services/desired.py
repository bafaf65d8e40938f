"""What the hub sends: for each service of an instance the newest wish, tombstones included."""

import dataclasses
from collections.abc import Mapping

from control_plane import errors, ports
from control_plane.domain import values
from control_plane.services.context import Context


class DesiredState:
    """Read by the sessions of agents; it changes nothing but the note of what an agent stored."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def newer_than(self, instance_id: str, known: Mapping[str, int]) -> tuple[values.Desired, ...]:
        """The wishes with a generation above the one in `known` (0 when it is not there)."""
        async with self._context.store.read() as tx:
            services = await tx.list_services_of_instance(instance_id)
            newer = [service for service in services if service.generation > known.get(service.id, 0)]
            return await _wishes(tx, newer) if newer else ()

    async def acknowledged(self, instance_id: str, service_id: str, generation: int) -> None:
        """Note that the agent stored a wish. Nothing for a service that is gone, ForbiddenError for a foreign one."""
        async with self._context.write() as tx:
            service = await tx.find_service(service_id)
            if service is None or service.id != service_id:
                return
            if service.instance_id != instance_id:
                raise errors.ForbiddenError(f"cannot acknowledge for service {service_id}: it is not on {instance_id}")
            newest = min(generation, service.generation)
            if newest > service.acknowledged:
                await tx.update_service(dataclasses.replace(service, acknowledged=newest))


async def _wishes(tx: ports.Transaction, services: list[values.Service]) -> tuple[values.Desired, ...]:
    newest = await tx.newest_releases([service.deployment_id for service in services])
    routes = await tx.routes_of([service.id for service in services])
    return tuple(
        values.Desired(
            service_id=service.id,
            generation=service.generation,
            name=service.name,
            run=service.run,
            restart=service.restart,
            release=newest.get(service.deployment_id),
            routes=tuple(routes.get(service.id, ())),
        )
        for service in services
    )
