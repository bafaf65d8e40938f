"""What agents report, taken into the rows: newest generation wins, releases move along their table.

What follows from a report (events, another release because the branch moved) is written in the same transaction.
"""

import dataclasses

import failpoints
from control_plane import errors, ports
from control_plane.domain import release, values
from control_plane.domain import service as service_rules
from control_plane.services import events, going_back, releases, removal
from control_plane.services.context import Context

MAX_MESSAGE = 2000
LOOK_BACK = 50  # releases among which a commit counts as deployed
TOLD = {
    release.State.FETCHING: "deployment.building",
    release.State.BUILDING: "deployment.building",
    release.State.LIVE: "deployment.succeeded",
    release.State.FAILED: "deployment.failed",
    release.State.CANCELLED: "deployment.cancelled",
}
TOLD_OF_ROUTES = {"active": "route.active", "failed": "route.failed", "quarantined": "route.failed"}


class Status:
    """One call for each report of an agent. A report may be late, repeated, or several steps ahead."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @failpoints.around("report.record")
    async def record(self, instance_id: str, epoch: int, report: values.ServiceReport) -> None:
        """Store `report`; ForbiddenError when its service runs elsewhere.

        Nothing changes when the session or the generation is an old one, or when the service is gone already.
        """
        async with self._context.write() as tx:
            host = await tx.find_instance(instance_id)
            service = await tx.find_service(report.service_id)
            if service is None or service.id != report.service_id or host is None or epoch < host.epoch:
                return
            if service.instance_id != instance_id:
                raise errors.ForbiddenError(f"cannot report of service {service.id}: it is not on {instance_id}")
            if report.removed and _confirms(service, report):
                await self._remove(tx, host, service)
            elif report.observed.generation >= service.observed.generation:
                await self._take(tx, service, report)

    @failpoints.around("service.removed")
    async def _remove(self, tx: ports.Transaction, host: values.Instance, service: values.Service) -> None:
        project, deployment = service.project_id, service.deployment_id
        await tx.delete_deployment(deployment)
        await self._context.audit(tx, host.id, "deployment.removed", deployment, project=project)
        await events.emit(
            self._context, tx, "deployment.deleted", subject=deployment, project=project, name=service.name
        )
        await removal.end_project(self._context, tx, project, host.id)
        if host.draining and not await tx.list_services_of_instance(host.id):
            await events.emit(self._context, tx, "instance.drained", subject=host.id, name=host.name)

    async def _take(self, tx: ports.Transaction, service: values.Service, report: values.ServiceReport) -> None:
        now = self._context.clock.now()
        message = report.observed.message[:MAX_MESSAGE]
        observed = dataclasses.replace(report.observed, message=message, reported_at=now)
        changed = dataclasses.replace(service, observed=observed)
        await tx.update_service(changed)
        for said in report.releases:
            await self._advance(tx, service, said)
        for name in service_rules.happened(service.observed, observed):
            await self._emit(tx, service, name, service.id, message=message, live_release=observed.live_release)
        if observed.generation >= service.generation:  # an earlier report is of routes as they were
            await self._take_routes(tx, service, report)
        await going_back.when_failed(self._context, tx, changed)
        if report.branch_head:
            await self._follow_branch(tx, changed, report.branch_head)

    async def _advance(self, tx: ports.Transaction, service: values.Service, said: values.ReleaseReport) -> None:
        stored = await tx.get_release(service.deployment_id, said.number)
        changed = advanced(stored, said, self._context.clock.now()) if stored is not None else None
        if stored is None or changed is None:
            return
        await tx.update_release(changed)
        before, after = (TOLD.get(release.State(one.state)) for one in (stored, changed))
        if after is not None and after != before:
            about = {"release": changed.number, "commit": changed.commit, "reason": changed.reason}
            await self._emit(tx, service, after, service.deployment_id, message=changed.message, **about)

    async def _take_routes(self, tx: ports.Transaction, service: values.Service, report: values.ServiceReport) -> None:
        words = {said.id: said for said in report.routes}
        for route in (await tx.routes_of([service.id])).get(service.id, ()):
            said = words.get(route.id)
            if said is None or (said.state, said.message) == (route.status, route.message):
                continue
            shown = dataclasses.replace(route, status=said.state, message=said.message[:MAX_MESSAGE])
            await tx.update_route(shown)
            name = TOLD_OF_ROUTES.get(said.state)
            if name is not None and said.state != route.status:
                await self._emit(tx, service, name, route.id, domain=route.domain, message=shown.message)

    async def _emit(
        self, tx: ports.Transaction, service: values.Service, event: str, subject: str, **data: object
    ) -> None:
        about = {"name": service.name, "service_id": service.id, **data}
        await events.emit(self._context, tx, event, subject=subject, project=service.project_id, **about)

    async def _follow_branch(self, tx: ports.Transaction, service: values.Service, head: str) -> None:
        """Another release when the branch moved since the newest one, whatever became of that."""
        deployment = await tx.find_deployment(service.deployment_id)
        newest = await tx.get_release(service.deployment_id, deployment.release) if deployment else None
        if deployment is None or newest is None or not is_news(deployment, service, newest, head):
            return
        if await _was_deployed(tx, newest, head):
            return
        new = await releases.roll_out(self._context, tx, deployment, service, deployment.config, "poll")
        await self._context.audit(
            tx,
            "system",
            "deployment.redeployed",
            deployment.id,
            project=deployment.project_id,
            summary=f"the branch {deployment.config.branch} moved to {head[:12]}: release {new.release}",
            release=new.release,
            commit=head,
        )
        self._context.wake(service.instance_id)


def is_news(deployment: values.Deployment, service: values.Service, newest: values.Release, head: str) -> bool:
    """Whether `head` of the branch should be deployed: wished so, not pinned, and not what the newest release is of."""
    follows = deployment.poll and not deployment.config.commit and service.run is values.Run.RUNNING
    ended = release.State(newest.state) not in release.UNFINISHED
    return follows and ended and bool(newest.commit) and newest.commit != head


async def _was_deployed(tx: ports.Transaction, newest: values.Release, head: str) -> bool:
    """Whether an earlier release was of `head` already.

    The look may be older than the push that a hook deployed since; and a rollback stays until something new is pushed.
    """
    for number in range(newest.number - 1, max(0, newest.number - 1 - LOOK_BACK), -1):
        earlier = await tx.get_release(newest.deployment_id, number)
        if earlier is not None and earlier.commit == head and earlier.config.remote == newest.config.remote:
            return True
    return False


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
        decided=said.decided or stored.decided,
    )
    return dataclasses.replace(changed, changed_at=now) if changed != stored else None


def _confirms(service: values.Service, report: values.ServiceReport) -> bool:
    return service.run is values.Run.REMOVED and report.observed.generation >= service.generation
