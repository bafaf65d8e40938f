"""Who listens where: socket inode → process tree, read from /proc. Processes may vanish while we look."""

import os
import pathlib
from collections.abc import Iterator

LISTEN = "0A"
ESTABLISHED = "01"


def _entries(state: str) -> Iterator[tuple[int, str]]:
    """(local port, inode) of every TCP socket in `state`, both families."""
    for family in ("tcp", "tcp6"):
        try:
            lines = pathlib.Path("/proc/net", family).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue  # a host without IPv6
        for line in lines:
            fields = line.split()
            if fields[3] == state:
                yield int(fields[1].rpartition(":")[2], 16), fields[9]


def listening_ports() -> frozenset[int]:
    """Every TCP port on which this host listens, on any address."""
    return frozenset(port for port, _ in _entries(LISTEN))


def established(port: int) -> int:
    """Connections that a server on `port` has accepted and not finished."""
    return sum(1 for local, _ in _entries(ESTABLISHED) if local == port)


def ports_of(pid: int) -> frozenset[int]:
    """The ports on which the process tree of `pid`, a session leader, listens."""
    inodes = {inode: port for port, inode in _entries(LISTEN)}
    held: set[int] = set()
    for member in _tree(pid):
        held |= {inodes[inode] for inode in _socket_inodes(member) if inode in inodes}
    return frozenset(held)


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


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                link = os.readlink(entry.path)  # noqa: PTH115 - the text itself is wanted, not a path
            except OSError:
                continue
            if link.startswith("socket:["):
                yield link[8:-1]
    except OSError:
        return
