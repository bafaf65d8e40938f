"""Ends releases that will not end by themselves: each has a deadline.

While its instance is online and it is wished, a release has `under_way_s` for each of its states, and a canary its trial besides
while it is switched to; the time begins anew when the instance was away, and when the control plane was restarted. One that
nothing moves (its instance is away, or its source was never uploaded) is given up `waiting_s` after its last step. Called by
a loop in wiring.
"""

import dataclasses

import structlog

from control_plane import errors, ports
from control_plane.domain import instance, release, strategy, values
from control_plane.services import events, releases
from control_plane.services.context import Context

log = structlog.get_logger()

UNDER_WAY_S = 45 * 60.0
WAITING_S = 24 * 3600.0


class Reaper:
    """Remembers since when each unfinished release could have gone on."""

    def __init__(self, context: Context, under_way_s: float = UNDER_WAY_S, waiting_s: float = WAITING_S) -> None:
        self._context = context
        self._under_way_s = under_way_s
        self._waiting_s = waiting_s
        self._since: dict[tuple[str, str], float] = {}  # (release id, state) → when

    async def reap(self) -> int:
        """Fail the overdue releases; how many there were. One query while nothing is under way."""
        async with self._context.store.read() as tx:
            unfinished = await tx.unfinished_releases()
            overdue = [one for one in unfinished if await self._is_overdue(tx, one)]
        known = {(one.id, one.state) for one in unfinished}
        self._since = {key: at for key, at in self._since.items() if key in known}
        for one in overdue:
            try:
                await self._fail(one)
            except errors.DployrError as error:  # the next turn tries again
                log.warning("release.overdue_kept", release=one.id, error=error.message)
        return len(overdue)

    async def _is_overdue(self, tx: ports.Transaction, one: values.Release) -> bool:
        now = self._context.clock.now()
        deployment = await tx.find_deployment(one.deployment_id)
        service = await tx.find_service(deployment.service_id) if deployment is not None else None
        if service is None or service.run is not values.Run.RUNNING:
            return False  # nobody wishes it to go on
        host = await tx.find_instance(service.instance_id)
        if host is None or not instance.is_online(host, now) or release.waits_for_source(one):
            self._since.pop((one.id, one.state), None)
            return (now - one.changed_at).total_seconds() > self._waiting_s
        since = self._since.setdefault((one.id, one.state), now.timestamp())
        trial_s = strategy.trial_s(one.config.strategy) if one.state == release.State.SWITCHING.value else 0.0
        return now.timestamp() - since > self._under_way_s + trial_s

    async def _fail(self, one: values.Release) -> None:
        now = self._context.clock.now()
        async with self._context.write() as tx:
            deployment = await tx.find_deployment(one.deployment_id)
            stored = await tx.get_release(one.deployment_id, one.number)
            if deployment is None or stored is None or stored.state != one.state:
                return  # it moved meanwhile
            service = await releases.service_of(tx, deployment)
            message = f"gave up: it was {one.state} for too long"
            await tx.update_release(
                dataclasses.replace(
                    stored,
                    state=release.State.FAILED.value,
                    reason=release.OVERDUE,
                    message=message,
                    changed_at=now,
                )
            )
            await releases.changed(self._context, tx, deployment, service)
            about = {"release": one.number, "reason": release.OVERDUE}
            await self._context.audit(
                tx,
                "system",
                "deployment.overdue",
                deployment.id,
                project=deployment.project_id,
                summary=f"release {one.number} of {deployment.name} {message}",
                **about,
            )
            told = {"name": deployment.name, "service_id": service.id, "commit": stored.commit, "message": message}
            await events.emit(
                self._context,
                tx,
                "deployment.failed",
                subject=deployment.id,
                project=deployment.project_id,
                **about,
                **told,
            )
        self._context.wake(service.instance_id)
        log.warning("release.overdue", deployment=deployment.id, release=one.number, state=one.state)
