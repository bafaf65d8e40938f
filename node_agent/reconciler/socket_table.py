"""The kernel's table of TCP sockets: those in one state, whoever they are of.

Asked for by netlink, the kernel walks over those alone. /proc/net/tcp lists every connection of the host, tens of
milliseconds under load, so it is read only where netlink is closed to us.
"""

import dataclasses
import os
import pathlib
import socket
import struct
import sys
from collections.abc import Iterator

LISTEN, ESTABLISHED = 10, 1
SOCK_DIAG, BY_FAMILY, DONE, FAILED = 4, 20, 3, 2
REQUEST_DUMP = 0x301
FAMILIES = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6}
HEADER = struct.Struct("=IHHII")
QUESTION = struct.Struct("=BBBxI48x")
ENDED = struct.Struct("=i")
# family, then: ports in network order, addresses, and behind what does not matter here uid and inode
ANSWER = struct.Struct("=B3x2s2x16s16s4x8x12xII")
RECEIVE = 1 << 17


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """`address` is where it is bound, 4 or 16 bytes in network order."""

    address: bytes
    port: int
    uid: int
    inode: int


def read(state: int) -> list[Entry]:
    """Every socket in `state`, of both families. Raises OSError."""
    try:
        return list(by_netlink(state))
    except OSError:
        return list(by_proc(state))


def by_netlink(state: int) -> Iterator[Entry]:
    """Raises OSError where the kernel does not answer."""
    for family in FAMILIES.values():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG) as kernel:
            question = QUESTION.pack(family, socket.IPPROTO_TCP, 0, 1 << state)
            kernel.send(HEADER.pack(HEADER.size + len(question), BY_FAMILY, REQUEST_DUMP, 1, 0) + question)
            yield from _answers(kernel)


def _answers(kernel: socket.socket) -> Iterator[Entry]:
    while True:
        data = kernel.recv(RECEIVE)
        at = 0
        while at < len(data):
            length, kind, *_ = HEADER.unpack_from(data, at)
            if kind in {DONE, FAILED}:
                # A kernel without tables of TCP says so at the end of an answer without sockets.
                (error,) = ENDED.unpack_from(data, at + HEADER.size)
                if error:
                    raise OSError(-error, f"the kernel does not tell of sockets: {os.strerror(-error)}")
                return
            family, port, address, _, uid, inode = ANSWER.unpack_from(data, at + HEADER.size)
            address = address[:4] if family == socket.AF_INET else address
            yield Entry(address, int.from_bytes(port, "big"), uid, inode)
            at += length + -length % 4


def by_proc(state: int) -> Iterator[Entry]:
    """Raises OSError; not where the host has no IPv6."""
    for name in FAMILIES:
        try:
            lines = pathlib.Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            if name == "tcp6":
                continue
            raise
        for fields in map(str.split, lines):
            if int(fields[3], 16) == state:
                address, _, port = fields[1].rpartition(":")
                words = (address[at : at + 8] for at in range(0, len(address), 8))
                packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
                yield Entry(packed, int(port, 16), int(fields[7]), int(fields[9]))
