"""How requests ended, as nginx tells line by line over a datagram socket: counted per port, nothing kept.

Only while a canary is under way does nginx tell: nobody else pays for the lines.
"""

import asyncio
import contextlib
import pathlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Collection, Iterator

from node_agent.model.canary import Counts

FORMAT = "$upstream_addr|$upstream_status"  # of a request that was tried twice both are lists
LARGEST = 4096
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
LINE = re.compile(rb"127\.0\.0\.1:[0-9., :]{1,400}\|[0-9, -]{1,100}$")


class RequestCounts:
    """Implements ports.Requests. A line that is not ours to read counts for nothing."""

    def __init__(self) -> None:
        self._counts: dict[int, Counts] = {}

    def feed(self, datagram: bytes) -> None:
        if match := LINE.search(datagram):
            addresses, _, statuses = match[0].decode("ascii").partition("|")
            for address, status in zip(addresses.split(", "), statuses.split(", "), strict=False):
                self._count(address.rpartition(":")[2], status)

    def _count(self, port: str, status: str) -> None:
        if port.isdigit():
            known = self._counts.get(int(port), Counts())
            self._counts[int(port)] = Counts(known.total + 1, known.failed + (status[:1] not in "1234"))

    def of(self, ports: Collection[int]) -> Counts:
        found = [self._counts.get(port, Counts()) for port in ports]
        return Counts(sum(one.total for one in found), sum(one.failed for one in found))

    def drop(self, port: int) -> None:
        self._counts.pop(port, None)


@contextlib.asynccontextmanager
async def listening(path: pathlib.Path, counts: RequestCounts, uid: int) -> AsyncIterator[None]:
    """Count what nginx, who runs as `uid`, sends to the socket at `path`. It drops what it cannot send: nobody waits."""
    loop = asyncio.get_running_loop()
    with _bound(path) as door:
        loop.add_reader(door, _receive, door, counts, uid)
        try:
            yield
        finally:
            loop.remove_reader(door)


def _receive(door: socket.socket, counts: RequestCounts, uid: int) -> None:
    """One datagram. Apps can reach the socket too: the kernel says whose it is, and theirs count for nothing."""
    try:
        datagram, about, _, _ = door.recvmsg(LARGEST, socket.CMSG_SPACE(CREDENTIALS.size))
    except OSError:
        return  # gone meanwhile
    for level, kind, said in about:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and CREDENTIALS.unpack(said)[1] == uid:
            counts.feed(datagram)


@contextlib.contextmanager
def _bound(path: pathlib.Path) -> Iterator[socket.socket]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        door.bind(str(path))
        path.chmod(0o622)  # nginx may have a user of its own, who may write, no more
        try:
            yield door
        finally:
            path.unlink(missing_ok=True)
