"""What the hub sends: for each service of an instance the newest wish, tombstones included."""

import dataclasses
from collections.abc import Mapping, Sequence

import failpoints
from control_plane import errors, ports
from control_plane.domain import release, values
from control_plane.services.context import Context

POLL_S = 300


class DesiredState:
    """Read by the sessions of agents; it changes nothing but the note of what an agent stored.

    `poll_s` is how often an agent shall look whether a branch has moved.
    """

    def __init__(self, context: Context, poll_s: int = POLL_S) -> None:
        self._context = context
        self._poll_s = poll_s

    async def newer_than(self, instance_id: str, known: Mapping[str, int]) -> tuple[values.Desired, ...]:
        """The wishes with a generation above the one in `known` (0 when it is not there)."""
        async with self._context.store.read() as tx:
            services = await tx.list_services_of_instance(instance_id)
            newer = [service for service in services if service.generation > known.get(service.id, 0)]
            return await _wishes(tx, newer, self._poll_s) if newer else ()

    @failpoints.around("wish.acknowledged")
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


async def _wishes(tx: ports.Transaction, services: list[values.Service], poll_s: int) -> tuple[values.Desired, ...]:
    newest = await tx.newest_releases([service.deployment_id for service in services])
    routes = await tx.routes_of([service.id for service in services])
    pinned = await tx.pinned_releases([service.deployment_id for service in services])
    found = []
    for service in services:
        wanted = await _wanted(tx, service, newest.get(service.deployment_id))
        if wanted is None:
            continue  # there is nothing yet that an instance could do
        wish = values.Desired(
            service_id=service.id,
            generation=service.generation,
            name=service.name,
            run=service.run,
            restart=service.restart,
            release=wanted,
            routes=tuple(routes.get(service.id, ())),
            cancelled=release.is_given_up(wanted),
            poll_s=poll_s if await _is_polled(tx, service) else 0,
            request_id=service.request_id,
            pinned=_kept(pinned.get(service.deployment_id, ())),
        )
        found.append(wish)
    return tuple(found)


def _kept(pinned: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """What must stay on the instance for them: also the builds that they use, since a rollback uses them again."""
    return tuple(sorted({number for pair in pinned for number in pair} - {0}))


async def _wanted(
    tx: ports.Transaction, service: values.Service, newest: values.Release | None
) -> values.Release | None:
    """The newest release; while that one waits for its source the live one, if there is any."""
    if newest is None or service.run is values.Run.REMOVED or not release.waits_for_source(newest):
        return newest
    return await tx.get_release(service.deployment_id, service.observed.live_release)


async def _is_polled(tx: ports.Transaction, service: values.Service) -> bool:
    deployment = await tx.find_deployment(service.deployment_id)
    return deployment is not None and deployment.poll and service.run is values.Run.RUNNING
