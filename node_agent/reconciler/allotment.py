"""Which port a process gets."""

import zlib
from collections.abc import Iterator

from node_agent import errors, ports
from node_agent.model import formation, process, spec
from node_agent.reconciler import sockets

FIRST_PORT, LAST_PORT = process.FIRST_PORT, process.LAST_PORT


def ports_for(process_id: str) -> Iterator[int]:
    """Every port of the range once, from a place that the process's name gives.

    A port that was chosen is free until its process binds it: two agents on one host must not both begin with the first.
    """
    count = LAST_PORT - FIRST_PORT + 1
    start = zlib.crc32(process_id.encode())
    return (FIRST_PORT + (start + step) % count for step in range(count))


async def port_of(
    journal: ports.PortJournal, now: float, process_id: process.ProcessId, release: spec.ReleaseSpec
) -> int:
    """The journalled port of this process, or a new one that nobody uses; the declared one where that is fixed.

    Raises ReleaseFailedError when there is none.
    """
    if release.port_mode == "fixed" and formation.is_routed(process_id.name):
        return _fixed_port(release)
    known = await journal.port_of(str(process_id))
    if known is not None:
        return known
    taken = await journal.taken_ports(now) | sockets.listening_ports()
    port = next((port for port in ports_for(str(process_id)) if port not in taken), None)
    if port is None:
        raise errors.ReleaseFailedError("no_port", "this host has no free port left; delete a service")
    await journal.take_port(str(process_id), port)
    return port


def _fixed_port(release: spec.ReleaseSpec) -> int:
    """Raises ReleaseFailedError when it may be another app's, or something listens there: the former release has ended."""
    if FIRST_PORT <= release.port <= LAST_PORT:
        raise errors.ReleaseFailedError(
            "port_in_use",
            f"port {release.port} is one of those that this host gives out by itself ({FIRST_PORT} to {LAST_PORT}); "
            "declare another port",
        )
    if release.port in sockets.listening_ports():
        raise errors.ReleaseFailedError(
            "port_in_use",
            f"port {release.port} is in use on this host by something else; stop that, or declare another port",
        )
    return release.port
