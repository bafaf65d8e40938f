"""From facts to the words that people read: status and health of a service. Pure and total."""

from node_agent.model import spec

# The supervisor calls a process starting in its first second; one that is live has passed its gate by then.
RUNNING = frozenset({"starting", "running"})


def service_status(
    run: spec.Run, *, live: bool, static: bool, states: tuple[str, ...], failed: bool, cancelled: bool = False
) -> str:
    """One word for a service.

    `live`: some release has the routes; `static`: it needs no process; `states`: process states of the live release,
    or of all when none is live; `failed`: the newest release cannot go live; `cancelled`: it shall not.
    """
    if run is not spec.Run.RUNNING or (cancelled and not live and not failed):
        return "stopping" if states else "stopped"
    if not live:
        return "failed" if failed else "starting"
    if static or (states and set(states) <= RUNNING):
        return "running"
    return "crash_looping" if "crash_looping" in states else "degraded"


def service_health(status: str, *, unhealthy: bool = False) -> str:
    """Healthy is a service whose live release runs, and passed its gate and every check since; `unhealthy`: one did not."""
    if status in {"degraded", "crash_looping", "failed"} or (status == "running" and unhealthy):
        return "unhealthy"
    return "healthy" if status == "running" else "unknown"
