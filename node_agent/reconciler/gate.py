"""The health gate: a new release gets traffic after its own process answered well `retries` times in a row.

The process must own its port by the same rule as for requests (owners.py), so that a neighbour's answer never counts. A
failure says what the owner of the app can do about it.
"""

import asyncio
import contextlib
import dataclasses

from node_agent import errors, ports
from node_agent.clock import Clock
from node_agent.model import formation, process, spec
from node_agent.model.crash import Kind
from node_agent.reconciler import jobs, launching, sockets

KINDS = ("http", "tcp", "command")
POLL_S, LOOKS = 0.1, 10
SOON_S = 0.05
GIVE_UP_RESTARTS = 3
STEADY_S = 2.0


async def probe(port: int, check: spec.HealthCheck) -> str:
    """One health check; empty when the answer is good, else what was wrong with it."""
    try:
        async with asyncio.timeout(check.timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if check.kind == "tcp":
                    return ""
                writer.write(f"GET {check.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                line = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        return f"no answer within {check.timeout_s:g} s"
    except (OSError, ValueError) as error:
        return f"cannot connect: {error}"
    words = line.split()
    code = words[1].decode("latin-1") if len(words) > 1 else "nothing"
    return "" if len(code) == 3 and code[0] in "23" else f"GET {check.path} answered {code}"


async def probe_by(supervisor: ports.Supervisor, job: process.JobSpec) -> str:
    """One health check by a command beside the process: good when it exits with 0; else what was wrong."""
    result = await jobs.run(supervisor, job)
    if result.outcome == "timeout":
        return f"`{job.command[:200]}` did not end within {job.deadline_s:g} s"
    good = (result.outcome, result.code) == ("exited", 0)
    return "" if good else f"`{job.command[:200]}` {result.outcome} {result.code}"


@dataclasses.dataclass(frozen=True, slots=True)
class Watched:
    """One process at the gate, and the release that it belongs to."""

    process_id: process.ProcessId
    release: spec.ReleaseSpec
    artifact: ports.Artifact


async def look(supervisor: ports.Supervisor, watched: Watched, port: int) -> str:
    """One health check of a process that listens on `port`, by the kind that its release asks for; as `probe` answers."""
    check = watched.release.health_check
    if check.kind == "command":
        return await probe_by(supervisor, _check_job(watched, port))
    return await probe(port, check)


async def wait(supervisor: ports.Supervisor, watched: Watched, clock: Clock) -> None:
    """Return when the process passed its gate. Raises ReleaseFailedError when it cannot, or not in time.

    One that gets requests must answer its health check; any other must stay up for STEADY_S.
    """
    if formation.is_routed(watched.process_id.name):
        await wait_healthy(supervisor, watched, clock)
    else:
        await wait_steady(supervisor, watched.process_id, watched.release, clock)


async def wait_steady(
    supervisor: ports.Supervisor, process_id: process.ProcessId, release: spec.ReleaseSpec, clock: Clock
) -> None:
    """Return when the process ran for STEADY_S without an end, within the start period of the release."""
    begun = steady_since = clock.monotonic()
    seen = -1
    while clock.monotonic() - steady_since < STEADY_S:
        status, _ = await _alive(supervisor, process_id)
        if status.pid != seen or not status.pid:
            seen, steady_since = status.pid, clock.monotonic()
        if clock.monotonic() - begun > release.health_check.start_period_s:
            raise errors.ReleaseFailedError(
                "unsteady", f"the process {process_id.name} did not stay up for {STEADY_S:g} s; read its log"
            )
        await asyncio.sleep(POLL_S)


async def wait_healthy(supervisor: ports.Supervisor, watched: Watched, clock: Clock) -> None:
    """Return when the gate is passed. Raises ReleaseFailedError when it cannot be, or not in time."""
    process_id, release = watched.process_id, watched.release
    check = release.health_check
    if check.kind not in KINDS:
        raise errors.ReleaseFailedError(
            "unsupported_check",
            f"cannot check the app's health by {check.kind[:40]!r}: this host knows {' and '.join(KINDS)}; change health_check",
        )
    deadline = clock.monotonic() + check.start_period_s
    good, bad, last, seen = 0, 0, "", 0
    while True:
        status, others = await _alive(supervisor, process_id)
        if status.pid != seen:  # another life: what the former one answered says nothing of it
            good, bad, seen = 0, 0, status.pid
        owned = await asyncio.to_thread(_owns, status)
        if owned:
            last = await look(supervisor, watched, status.port)
            good, bad = (0, bad + 1) if last else (good + 1, 0)
        else:
            good = 0
        if good >= check.retries:
            return
        if clock.monotonic() >= deadline:
            listens = await asyncio.to_thread(sockets.ports_of, status.pid) if status.pid else frozenset()
            raise _explained(
                release, status, listens - (others - {status.port}), _words(last, good, check) if owned else ""
            )
        await (asyncio.sleep(pause_s(check, bad)) if owned else _change_at(status.port))


async def _change_at(port: int) -> None:
    """Return when somebody begins or ceases to listen there, after POLL_S at the latest: the kernel's table is cheaper to
    ask than the supervisor.
    """
    before = port in await asyncio.to_thread(sockets.listening_ports)
    for _ in range(LOOKS):
        await asyncio.sleep(POLL_S / LOOKS)
        if (port in await asyncio.to_thread(sockets.listening_ports)) != before:
            return


def _words(last: str, good: int, check: spec.HealthCheck) -> str:
    return last or f"it was good {good} times in a row, not {check.retries}"


def _owns(status: process.ProcessStatus) -> bool:
    return bool(status.pid) and sockets.owns(status.pid, status.port, sockets.listeners(), known=False)


def pause_s(check: spec.HealthCheck, bad: int) -> float:
    """Until the next check of an app that starts: soon after a good answer, and each bad one in a row doubles it, up to the
    interval. Pure.
    """
    return min(check.interval_s, SOON_S * 2.0 ** min(bad, 32))


def _check_job(watched: Watched, port: int) -> process.JobSpec:
    release, artifact = watched.release, watched.artifact
    check, service_id = release.health_check, watched.process_id.service_id
    return launching.job_of(
        process.JobKind.CHECK, service_id, check.command, check.timeout_s, release, artifact, port=port
    )


async def _alive(
    supervisor: ports.Supervisor, process_id: process.ProcessId
) -> tuple[process.ProcessStatus, frozenset[int]]:
    """How the process is, and the ports of the service's other ones, which have the same user."""
    known = [found for found in await supervisor.processes() if found.id.service_id == process_id.service_id]
    status = next((found for found in known if found.id == process_id), None)
    if status is None:
        raise errors.ReleaseFailedError("process_gone", "the process was stopped before it was healthy; deploy again")
    if status.restarts >= GIVE_UP_RESTARTS or "start_failed" in status.last_exit:
        lines = " | ".join(status.last_lines[-5:])
        killed = status.crash is not None and status.crash.kind is Kind.OOM
        advice = "raise its limit in resources or make it use less" if killed else "mend run_cmd or what it needs"
        raise errors.ReleaseFailedError(
            "out_of_memory" if killed else "crashed",
            f"the app ended before it was healthy ({status.last_exit}); {advice}"
            + (f"; its last lines: {lines}" if lines else "; it wrote nothing"),
        )
    return status, frozenset(found.port for found in known if found.id != process_id)


def _explained(
    release: spec.ReleaseSpec, status: process.ProcessStatus, listens: frozenset[int], last: str
) -> errors.ReleaseFailedError:
    """`last` is what was wrong with the answer; empty when the process did not own its port in the end."""
    period = f"within {release.health_check.start_period_s:g} s"
    if last:
        return errors.ReleaseFailedError("unhealthy", f"the health check did not pass {period}: {last}")
    if status.port in listens:
        return errors.ReleaseFailedError(
            "wrong_address",
            f"the app listens on $PORT ({status.port}), but not at 127.0.0.1, or not alone; make it listen at 127.0.0.1 or "
            "at every address (0.0.0.0)",
        )
    if listens:
        others = ", ".join(map(str, sorted(listens)))
        if release.port in listens:
            words = (
                f"the app listens on its declared port {release.port} instead of $PORT ({status.port}); make it use the "
                "PORT variable, or set port_mode to fixed: then each deploy has a gap"
            )
            return errors.ReleaseFailedError("fixed_port", words)
        return errors.ReleaseFailedError(
            "wrong_port", f"the app listens on {others} instead of $PORT ({status.port}); make it use the PORT variable"
        )
    lines = " | ".join(status.last_lines[-5:])
    return errors.ReleaseFailedError(
        "never_listened",
        f"the app did not listen on $PORT ({status.port}) {period}" + (f"; its last lines: {lines}" if lines else ""),
    )
