"""What /proc tells: which processes are ours, and which tree each belongs to.

A process of ours carries two markers in its environment: DPLOYR_ROOT, the data directory (so that two installations on
one machine never take each other's processes), and DPLOYR_PROCESS, the id of the process or job it is part of.
"""

import contextlib
import dataclasses
import os
import signal
from collections.abc import Collection

from node_agent.model.process import Usage

BOOT_ID = "/proc/sys/kernel/random/boot_id"
ROOT, MARKER = "DPLOYR_ROOT", "DPLOYR_PROCESS"
PROXY = "proxy"
PAGE, TICKS_PER_S = os.sysconf("SC_PAGESIZE"), os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One living process; `started` is in clock ticks since boot and, with the pid, unique within a boot."""

    pid: int
    parent: int
    session: int
    started: int
    marker: str
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """All processes of the machine at one moment, without zombies."""

    members: dict[int, Member]

    def marked(self) -> dict[str, list[Member]]:
        """Our processes by marker, the session leader first, then the oldest."""
        found: dict[str, list[Member]] = {}
        for member in self.members.values():
            if member.marker:
                found.setdefault(member.marker, []).append(member)
        for members in found.values():
            members.sort(key=seniority)
        return found

    def tree(self, marker: str, leader: int) -> list[Member]:
        """All that belongs to `marker`: marked, or in the session of `leader` (0: unknown), or descended from such."""
        children: dict[int, list[int]] = {}
        for member in self.members.values():
            children.setdefault(member.parent, []).append(member.pid)
        waiting = [
            member.pid
            for member in self.members.values()
            if member.marker == marker or (leader and member.session == leader)
        ]
        found: set[int] = set()
        while waiting:
            pid = waiting.pop()
            if pid not in found:
                found.add(pid)
                waiting.extend(children.get(pid, ()))
        found.discard(os.getpid())
        return [self.members[pid] for pid in found]


def seniority(member: Member) -> tuple[bool, int, int]:
    """What sorts the members of a tree: the session leader first, then the oldest."""
    return member.session != member.pid, member.started, member.pid


def take_snapshot(root: str) -> Snapshot:
    """Look at every process once. Those that vanish meanwhile, or that we may not see, are left out."""
    members = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - one string per process, many times a second
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                if (member := _member(int(name), root)) is not None:
                    members[member.pid] = member
    return Snapshot(members)


def started(pid: int) -> int:
    """Start of a living process in ticks since boot; 0 when there is none, or only a zombie."""
    try:
        _, state, fields = _stat(pid)
    except (OSError, ValueError):
        return 0
    return 0 if state in "ZX" else int(fields[19])


def stopped_child(pid: int, parent: int) -> bool:
    """Is it a child of `parent`, and stopped? Raises OSError, ValueError when it is gone."""
    _, state, fields = _stat(pid)
    return state in "Tt" and int(fields[1]) == parent


def started_at(ticks: int, now: float) -> float:
    """Wall time at which a process started, from its ticks and the present time."""
    uptime = float(_read("/proc/uptime").split()[0])
    return now - uptime + ticks / TICKS_PER_S


def boot_id(file: str = BOOT_ID) -> str:
    """What tells this boot of the machine from every other one."""
    return _read(file).decode().strip()


def kill(pid: int, ticks: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal to the process that has `pid` and started at `ticks`, never to another; False when it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return False
    try:
        if started(pid) != ticks:
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def usage(pids: Collection[int]) -> Usage:
    """What these use together; shared memory counts once for each. Those that vanish meanwhile are left out."""
    memory, ticks = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            fields = _stat(pid)[2]
            memory += int(fields[21]) * PAGE
            ticks += sum(map(int, fields[11:15]))  # its own, and those of the children it waited for
    return Usage(memory, ticks / TICKS_PER_S, len(pids))


def _member(pid: int, root: str) -> Member | None:
    name, state, fields = _stat(pid)
    if state in "ZX":
        return None
    marker, port = _marker(pid, name, root)
    return Member(pid, int(fields[1]), int(fields[3]), int(fields[19]), marker, port)


def _stat(pid: int) -> tuple[bytes, str, list[bytes]]:
    """Name, state, and the fields from the state on; a name may contain anything, so it is cut out first."""
    head, _, tail = _read(f"/proc/{pid}/stat").rpartition(b")")
    fields = tail.split()
    return head.partition(b"(")[2], fields[0].decode(), fields


def _marker(pid: int, name: bytes, root: str) -> tuple[str, int]:
    try:
        environ = b"\0" + _read(f"/proc/{pid}/environ")
    except PermissionError:
        return "", 0
    if f"\0{ROOT}={root}\0".encode() in environ:
        port = _value(environ, "PORT")
        return _value(environ, MARKER), int(port) if port.isdecimal() else 0
    # nginx writes its title over its environment, but the title names the directory
    if name == b"nginx" and f" -p {root}/proxy ".encode() in _read(f"/proc/{pid}/cmdline"):
        return PROXY, 0
    return "", 0


def _value(environ: bytes, key: str) -> str:
    return environ.partition(f"\0{key}=".encode())[2].partition(b"\0")[0].decode(errors="replace")


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, 1 << 16)
        while more := os.read(fd, 1 << 16):
            data += more
        return data
    finally:
        os.close(fd)
