"""The public status and health of a service, from the wish and what was measured last."""

import dataclasses

from control_plane.domain import values

STATUSES = frozenset({"starting", "running", "degraded", "crash_looping", "stopping", "stopped", "failed"})
HEALTHS = frozenset({"healthy", "unhealthy", "unknown"})
AT_REST = frozenset({"stopped", "stopping"})
RUNS = frozenset({"running", "degraded", "crash_looping"})
OVERTAKEN = AT_REST | {"failed"}  # what a newer wish to run has overtaken, although the agent did not say so yet


def public_status(service: values.Service) -> str:
    """One word of STATUSES. A wish that the agent has not answered yet shows as starting or stopping."""
    status = service.observed.status if service.observed.status in STATUSES else ""
    if service.run is values.Run.RUNNING:
        answered = service.observed.generation >= service.generation
        return status if status and (answered or status not in OVERTAKEN) else "starting"
    if service.run is values.Run.STOPPED and not status:
        return "stopped" if not service.observed.live_release else "stopping"
    return status if status in AT_REST else "stopping"


def public_health(service: values.Service, *, online: bool) -> str:
    """One word of HEALTHS; of a host that is away nothing is known."""
    health = service.observed.health
    return health if online and health in HEALTHS and public_status(service) != "stopped" else "unknown"


def happened(old: values.Observed, new: values.Observed) -> tuple[str, ...]:
    """The events between two reports of a service, in the order in which they are told."""
    found = []
    if _crashes(new) > _crashes(old) and new.live_release == old.live_release:
        found.append("service.crashed")
    if new.status == "running" and old.status not in RUNS:
        found.append("service.started")
    elif new.status == "running" and old.status in RUNS and _was_restarted(old, new):
        found.append("service.restarted")
    if new.status == "stopped" != old.status:
        found.append("service.stopped")
    if (old.health, new.health) == ("healthy", "unhealthy"):
        found.append("service.unhealthy")
    if (old.health, new.health) == ("unhealthy", "healthy"):
        found.append("service.recovered")
    return tuple(found)


def _crashes(observed: values.Observed) -> int:
    return sum(process.restarts for process in observed.processes if process.release == observed.live_release)


def _was_restarted(old: values.Observed, new: values.Observed) -> bool:
    """All processes of the same release are others, and none of them died by itself."""
    before, after = ({process.pid for process in one.processes if process.pid} for one in (old, new))
    same = new.live_release == old.live_release and _crashes(new) == 0
    return same and bool(before) and bool(after) and not before & after


def presented(service: values.Service, *, online: bool) -> values.Service:
    """`service` with the public words in `observed`."""
    status, health = public_status(service), public_health(service, online=online)
    if (status, health) == (service.observed.status, service.observed.health):
        return service
    return dataclasses.replace(service, observed=dataclasses.replace(service.observed, status=status, health=health))
