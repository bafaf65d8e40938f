"""Who listens where. Processes may vanish while we look; a table that cannot be read is an OSError, since nobody would seem
to listen then.

A process that has a user of its own is known by it: the kernel's table of sockets names the user, and whoever may not
look into another user's process can read that. Others are found by socket inode → process tree.
"""

import os
import pathlib
from collections.abc import Iterator

from node_agent.reconciler import socket_table
from node_agent.reconciler.socket_table import ESTABLISHED, LISTEN

LOCALHOST = b"\x7f\0\0\x01"
HERE = frozenset({LOCALHOST, bytes(4)})  # 127.0.0.1 and every address
HERE_TOO = frozenset({bytes(10) + b"\xff\xff" + LOCALHOST, bytes(16)})  # the same of IPv6


def listening_ports() -> frozenset[int]:
    """Every TCP port on which this host listens, on any address."""
    return frozenset(one.port for one in socket_table.read(LISTEN))


def listeners() -> dict[int, frozenset[int]]:
    """The users to whom a connection to 127.0.0.1 may come, by port.

    A socket of IPv6 counts where there is none of IPv4: beside one it takes no such connection, and another one's must
    not make a port look shared.
    """
    found: dict[int, set[int]] = {}
    others: dict[int, set[int]] = {}
    for one in socket_table.read(LISTEN):
        if one.address in HERE:
            found.setdefault(one.port, set()).add(one.uid)
        elif one.address in HERE_TOO:
            others.setdefault(one.port, set()).add(one.uid)
    return {port: frozenset(uids) for port, uids in {**others, **found}.items()}


def owns(pid: int, port: int, listening: dict[int, frozenset[int]], *, known: bool) -> bool:
    """Does the process tree of `pid` listen on `port`, and nobody else? `listening` is what `listeners` said.

    Where apps share our user the table of users says nothing: then `known`, that it did before, is enough.
    """
    owner = _owner(pid)
    if listening.get(port) != frozenset({owner}):
        return False
    return owner != os.geteuid() or known or port in ports_of(pid)


def established(served: frozenset[int]) -> int:
    """Connections that servers on these ports have accepted and not finished."""
    return sum(1 for one in socket_table.read(ESTABLISHED) if one.port in served)


def ports_of(pid: int) -> frozenset[int]:
    """The ports on which the process tree of `pid`, a session leader, listens."""
    owner = _owner(pid)
    if owner != os.geteuid():
        return frozenset(one.port for one in socket_table.read(LISTEN) if one.uid == owner)
    inodes = {one.inode: one.port for one in socket_table.read(LISTEN)}
    held: set[int] = set()
    for member in _tree(pid):
        held |= {inodes[inode] for inode in _socket_inodes(member) if inode in inodes}
    return frozenset(held)


def _owner(pid: int) -> int:
    """The user of a process; our own when it is gone or hidden."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return os.geteuid()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:"))


def _tree(pid: int) -> set[int]:
    """`pid`, its session and its descendants."""
    parents: dict[int, int] = {}
    members = {pid}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = pathlib.Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        fields = stat.rpartition(") ")[2].split()
        parents[int(entry.name)] = int(fields[1])
        if int(fields[3]) == pid:
            members.add(int(entry.name))
    grown = True
    while grown:
        found = {child for child, parent in parents.items() if parent in members} - members
        members |= found
        grown = bool(found)
    return members


def _socket_inodes(pid: int) -> Iterator[int]:
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                link = os.readlink(entry.path)  # noqa: PTH115 - the text itself is wanted, not a path
            except OSError:
                continue
            if link.startswith("socket:["):
                yield int(link[8:-1])
    except OSError:
        return
