"""What agents report, taken into the rows: newest generation wins, releases move along their table."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import release, values
from control_plane.services.context import Context

MAX_MESSAGE = 2000


class Status:
    """One call for each report of an agent. A report may be late, repeated, or several steps ahead."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def record(self, instance_id: str, epoch: int, report: values.ServiceReport) -> None:
        """Store `report`; ForbiddenError when its service runs elsewhere.

        Nothing changes when the session or the generation is an old one, or when the service is gone already.
        """
        async with self._context.store.write() as tx:
            host = await tx.find_instance(instance_id)
            service = await tx.find_service(report.service_id)
            if service is None or service.id != report.service_id or host is None or epoch < host.epoch:
                return
            if service.instance_id != instance_id:
                raise errors.ForbiddenError(f"cannot report of service {service.id}: it is not on {instance_id}")
            if report.removed and _confirms(service, report):
                await tx.delete_deployment(service.deployment_id)
                await self._context.audit(tx, instance_id, "deployment.removed", service.deployment_id)
            elif report.observed.generation >= service.observed.generation:
                await self._take(tx, service, report)

    async def _take(self, tx: ports.Transaction, service: values.Service, report: values.ServiceReport) -> None:
        now = self._context.clock.now()
        message = report.observed.message[:MAX_MESSAGE]
        observed = dataclasses.replace(report.observed, message=message, reported_at=now)
        await tx.update_service(dataclasses.replace(service, observed=observed))
        for said in report.releases:
            stored = await tx.get_release(service.deployment_id, said.number)
            changed = advanced(stored, said, now) if stored is not None else None
            if changed is not None:
                await tx.update_release(changed)
        words = {said.id: said for said in report.routes}
        for route in (await tx.routes_of([service.id])).get(service.id, ()):
            said_of = words.get(route.id)
            if said_of is not None and (said_of.state, said_of.message) != (route.status, route.message):
                shown = dataclasses.replace(route, status=said_of.state, message=said_of.message[:MAX_MESSAGE])
                await tx.update_route(shown)


def advanced(stored: values.Release, said: values.ReleaseReport, now: values.Time) -> values.Release | None:
    """`stored` after a report; None when that changes nothing. An unknown word of a newer agent moves nothing."""
    reported = release.parse(said.state)
    old = release.State(stored.state)
    new = release.advance(old, reported) if reported is not None else old
    if reported is not new:
        return None
    changed = dataclasses.replace(
        stored,
        state=new.value,
        reason=said.reason[:MAX_MESSAGE],
        message=said.message[:MAX_MESSAGE],
        commit=said.commit or stored.commit,
    )
    return dataclasses.replace(changed, changed_at=now) if changed != stored else None


def _confirms(service: values.Service, report: values.ServiceReport) -> bool:
    return service.run is values.Run.REMOVED and report.observed.generation >= service.generation
