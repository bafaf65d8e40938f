"""The public status and health of a service, from the wish and what was measured last."""

import dataclasses
import functools

from control_plane.domain import values

AWAY = "its instance is not connected; this is what it said last"
STATUSES = frozenset({"starting", "running", "degraded", "crash_looping", "stopping", "stopped", "failed"})
HEALTHS = frozenset({"healthy", "unhealthy", "unknown"})
REPLACED = "unhealthy"  # the kind of an end that the agent asked for, which is told by the health of the service
AT_REST = frozenset({"stopped", "stopping"})
FRESH_S = 60.0
USED = ("pid", "cpu_percent", "rss_bytes")
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
    """Restarts of the processes that serve, but of those that were ended last because their health check failed."""
    return sum(process.restarts for process in _serving(observed) if not _was_replaced(process))


def _serving(observed: values.Observed) -> list[values.Process]:
    return [process for process in observed.processes if process.release == observed.live_release]


def _was_replaced(process: values.Process) -> bool:
    return process.crash is not None and process.crash.kind == REPLACED


def _was_restarted(old: values.Observed, new: values.Observed) -> bool:
    """All processes of the same release are others, and none of them died by itself."""
    before, after = ({process.pid for process in one.processes if process.pid} for one in (old, new))
    same = new.live_release == old.live_release and not any(process.restarts for process in _serving(new))
    return same and bool(before) and bool(after) and not before & after


def presented(service: values.Service, *, online: bool, now: values.Time) -> values.ServiceView:
    """`service` with the public words in `observed`, and what can be said of it at `now`. Lists call it for every row."""
    observed, status, health = service.observed, public_status(service), public_health(service, online=online)
    if (status, health) != (observed.status, observed.health):
        observed = dataclasses.replace(observed, status=status, health=health)
    answered = observed.generation >= service.generation
    wanted = "running" if service.run is values.Run.RUNNING else "stopped"
    return values.ServiceView(
        id=service.id,
        deployment_id=service.deployment_id,
        project_id=service.project_id,
        name=service.name,
        instance_id=service.instance_id,
        run=service.run,
        restart=service.restart,
        generation=service.generation,
        acknowledged=service.acknowledged,
        observed=observed,
        created_at=service.created_at,
        updated_at=service.updated_at,
        conditions=conditions(wanted, status, health, observed.message, online=online, answered=answered),
        at=now,
    )


@functools.lru_cache(maxsize=512)
def conditions(
    wanted: str, status: str, health: str, message: str, *, online: bool, answered: bool
) -> tuple[values.Condition, ...]:
    """Is the instance of a service there, has it answered the wish, is the service as wished, is it healthy?"""
    unknown = ("Unknown", "Disconnected", AWAY)
    synced = (
        ("True", "Answered", "") if answered else ("False", "Pending", "its instance has not answered the wish yet")
    )
    ready = ("True" if status == wanted else "False", _word(status), message)
    is_healthy = {"healthy": "True", "unhealthy": "False"}.get(health, "Unknown")
    healthy = (is_healthy, _word(health), message if is_healthy == "False" else "")
    return (
        values.Condition("Reachable", *(("True", "Connected", "") if online else ("False", "Disconnected", AWAY))),
        values.Condition("Synced", *(synced if online or answered else unknown)),
        values.Condition("Ready", *(ready if online else unknown)),
        values.Condition("Healthy", *(healthy if online else unknown)),
    )


def usage_in(sample: values.Sample, service_id: str, now: values.Time) -> dict[int, values.Usage]:
    """What each process of a service used, by pid, from a sample that is not older than FRESH_S.

    An agent's words: what is not of the form is left out.
    """
    services = sample.families.get("services")
    said = services.get(service_id) if isinstance(services, dict) else None
    members = said.get("members") if isinstance(said, dict) else None
    if not isinstance(members, list) or not 0 <= now.timestamp() - sample.time <= FRESH_S:
        return {}
    found = {}
    for member in members:
        pid, percent, rss = (member.get(name) if isinstance(member, dict) else None for name in USED)
        if isinstance(pid, int) and isinstance(percent, int | float) and isinstance(rss, int):
            found[pid] = values.Usage(float(percent), rss)
    return found


def _word(words: str) -> str:
    return "".join(part.capitalize() for part in words.split("_"))
