"""The health checks of a release that serves: they go on at their interval, and a process that hangs gets another life.

Each process is looked at for itself; what follows is decided by `model.health`. An agent that stood still itself learns
nothing from a check that failed meanwhile.
"""

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING

import structlog

from node_agent import errors
from node_agent.model import formation, health, process
from node_agent.model.actions import Target
from node_agent.reconciler import gate

if TYPE_CHECKING:
    from node_agent.reconciler.host import ServiceHost

log = structlog.get_logger()
PULSE_S = 0.5
GRACE_S = 10.0


async def watch(service: "ServiceHost", target: Target) -> None:
    """For ever: look at each process of `target` that gets requests."""
    release, artifact = await service.release(target.release), service.artifact(target.release)
    async with asyncio.TaskGroup() as tasks:
        for found in await service.of(target):
            if formation.is_routed(found.id.name):
                watched = gate.Watched(found.id, release, artifact)
                tasks.create_task(_watch(service, watched), name=f"health of {found.id}")


async def _watch(service: "ServiceHost", watched: gate.Watched) -> None:
    interval_s = health.interval_s(watched.release.health_check)
    await asyncio.sleep(interval_s * _share(watched.process_id))
    while True:
        status = service.seen.get(watched.process_id)
        if status is not None and status.pid:
            await _turn(service, watched, status)
        await asyncio.sleep(interval_s)


async def _turn(service: "ServiceHost", watched: gate.Watched, status: process.ProcessStatus) -> None:
    """One look at this life of a process, and what follows."""
    known, check = _known(service, status), watched.release.health_check
    look = await _look(service, watched, status)
    if _pid(service, status.id) != status.pid:
        return  # that life ended meanwhile
    service.healths[status.id] = found = health.after(known, look, check)
    if found.why != known.why:
        log.info("process.health", process=str(status.id), unhealthy=found.why)
        service.changed()
    await _replace_next(service, watched)


def _known(service: "ServiceHost", status: process.ProcessStatus) -> health.Health:
    """One that is seen for the first time just passed its gate, or may run since long: the clock on the wall says so."""
    former, now = service.healths.get(status.id), service.host.clock.monotonic()
    if former is not None:
        return former if former.pid == status.pid else health.next_life(former, status.pid, now)
    if Target(status.id.release, status.id.restart) in service.passed and not status.restarts:
        return health.Health(status.pid, now, well=(now, now))
    return health.Health(status.pid, now - max(0.0, service.host.clock.now() - status.started_at))


async def _look(service: "ServiceHost", watched: gate.Watched, status: process.ProcessStatus) -> health.Look:
    clock = service.host.clock
    before, is_void = clock.monotonic(), False
    task = asyncio.create_task(_check(service, watched, status), name=f"check of {status.id}")
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=PULSE_S)
            now = clock.monotonic()
            is_void, before = is_void or health.stood_still(before, now, PULSE_S), now
        return health.Look(before, task.result(), is_void)
    except errors.AgentError as error:  # the check itself could not be made: no word about the process
        return health.Look(before, str(error), void=True)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, errors.AgentError):
            await task


async def _check(service: "ServiceHost", watched: gate.Watched, status: process.ProcessStatus) -> str:
    if not service.host.owners.owns(status):
        return f"nothing of it listened on port {status.port}"
    return await gate.look(service.host.supervisor, watched, status.port)


async def _replace_next(service: "ServiceHost", watched: gate.Watched) -> None:
    """Have the process replaced whose turn it is, should it be any's."""
    check, now = watched.release.health_check, service.host.clock.monotonic()
    copy = (watched.process_id.release, watched.process_id.restart)
    found = {str(name): one for name, one in service.healths.items() if (name.release, name.restart) == copy}
    chosen = health.next_to_replace(found, check, now)
    if chosen is None:
        return
    process_id, known = process.ProcessId.parse(chosen), found[chosen]
    service.healths[process_id] = health.asked(known, now)
    service.changed()
    unwell = process.Unwell(known.pid, known.why, known.well_s)
    log.info("process.replaced", process=chosen, pid=known.pid, unhealthy=known.why)
    try:
        await service.host.supervisor.replace(process_id, unwell, GRACE_S)
    except errors.AgentError as error:
        log.warning("process.not_replaced", process=chosen, error=str(error))
        if service.healths.get(process_id) == health.asked(known, now):
            service.healths[process_id] = known
            service.changed()


def _pid(service: "ServiceHost", process_id: process.ProcessId) -> int:
    found = service.seen.get(process_id)
    return found.pid if found else 0


def _share(process_id: process.ProcessId) -> float:
    """When in the interval, from 0 to 1: all processes of a host are not looked at in one moment."""
    return zlib.crc32(str(process_id).encode()) / 2**32
