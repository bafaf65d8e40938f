"""A program for the kernel that decides which addresses a build may call. Pure: made from tables, tried by the kernel.

Refused are the metadata services of clouds, which give the credentials of the host to whoever asks from it, and the ports of
applications at this host's own addresses. The name service (port 53) may be called anywhere: some clouds have it there.
"""

import ipaddress
import struct
from collections.abc import Iterable

from node_agent.model.process import FIRST_PORT, LAST_PORT

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Besides 169.254.0.0/16 and fe80::/10, where most of them are.
METADATA = tuple(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42"),
    )
)
NAMES = 53
MOST_ADDRESSES = 256
# Where the kernel shows an address and a port that are called (struct bpf_sock_addr), in the order of the network.
IPV4_AT, IPV6_AT, PORT_AT = 4, (8, 12, 16, 20), 24
ALLOW, REFUSE, IPV4, OTHER, OWN = "allow", "refuse", "ipv4", "other", "own"
LOAD, FROM_NETWORK, COPY, SHIFT, SET, END = 0x61, 0xDC, 0xBC, 0x74, 0xB7, 0x95
EQUAL, UNEQUAL, GREATER, LESS, ALWAYS = 0x16, 0x56, 0x26, 0xA6, 0x05
CONTEXT, LAST, PORT, SCRATCH, WORDS = 1, 2, 3, 4, (5, 6, 7, 2)  # registers; of IPv6 LAST has the last word

Step = tuple[int, int, int, int, int | str, int]  # code, target, source, offset, where to jump, value


def program(family: int, own: Iterable[Address]) -> bytes:
    """For calls of IPv4 or 6 from a host that has the addresses `own`."""
    mine = [address for address in own if not address.is_loopback][:MOST_ADDRESSES]
    steps: list[Step | str] = [*_load(PORT, PORT_AT, 16), _jump(EQUAL, PORT, NAMES, ALLOW)]
    steps += _ipv6(mine) if family == 6 else _load(LAST, IPV4_AT, 32)
    steps += [IPV4, *_ipv4(mine), ALLOW, *_answer(1), REFUSE, *_answer(0)]
    return _assemble(steps)


def _ipv4(own: list[Address]) -> list[Step | str]:
    metadata = [int(address) for address in METADATA if address.version == 4]
    return [
        *_shifted(LAST, 16),
        _jump(EQUAL, SCRATCH, 0xA9FE, REFUSE),
        *(_jump(EQUAL, LAST, address, REFUSE) for address in metadata),
        *_of_no_app(),
        *_shifted(LAST, 24),
        *(_jump(EQUAL, SCRATCH, network, REFUSE) for network in (0, 127)),
        *(_jump(EQUAL, LAST, int(address), REFUSE) for address in own if address.version == 4),
        _jump(ALWAYS, 0, 0, ALLOW),
    ]


def _ipv6(own: list[Address]) -> list[Step | str]:
    """IPv4 in the clothes of IPv6 is judged as what it is."""
    first, second, third, last = WORDS
    steps: list[Step | str] = [step for word, at in zip(WORDS, IPV6_AT, strict=True) for step in _load(word, at, 32)]
    steps += [
        _jump(UNEQUAL, second, 0, OTHER),
        *(_jump(UNEQUAL, first, 0x0064FF9B, 2), _jump(EQUAL, third, 0, IPV4), _jump(ALWAYS, 0, 0, OTHER)),
        _jump(UNEQUAL, first, 0, OTHER),
        _jump(EQUAL, third, 0xFFFF, IPV4),
        _jump(UNEQUAL, third, 0, OTHER),
        _jump(GREATER, last, 1, OTHER),
        *_of_no_app(),
        _jump(ALWAYS, 0, 0, REFUSE),
        OTHER,
        *_shifted(first, 22),
        _jump(EQUAL, SCRATCH, 0xFE80 >> 6, REFUSE),
    ]
    for address in METADATA:
        steps += _refuse_ipv6(address)
    steps += _of_no_app()
    for address in own:
        steps += _refuse_ipv6(address)
    return [*steps, _jump(ALWAYS, 0, 0, ALLOW)]


def _refuse_ipv6(address: Address) -> list[Step | str]:
    if address.version == 4:
        return []
    words = struct.unpack(">4I", address.packed)
    others = [
        _jump(UNEQUAL, word, value, 3 - at) for at, (word, value) in enumerate(zip(WORDS, words[:3], strict=False))
    ]
    return [*others, _jump(EQUAL, LAST, words[3], REFUSE)]


def _of_no_app() -> list[Step | str]:
    return [_jump(LESS, PORT, FIRST_PORT, ALLOW), _jump(GREATER, PORT, LAST_PORT, ALLOW)]


def _load(register: int, at: int, bits: int) -> list[Step | str]:
    return [(LOAD, register, CONTEXT, at, 0, 0), (FROM_NETWORK, register, 0, 0, 0, bits)]


def _shifted(register: int, bits: int) -> list[Step | str]:
    return [(COPY, SCRATCH, register, 0, 0, 0), (SHIFT, SCRATCH, 0, 0, 0, bits)]


def _jump(when: int, register: int, value: int, to: int | str) -> Step:
    return (when, register, 0, 0, to, value)


def _answer(value: int) -> list[Step | str]:
    return [(SET, 0, 0, 0, 0, value), (END, 0, 0, 0, 0, 0)]


def _assemble(steps: list[Step | str]) -> bytes:
    """A jump is to a label, or over a number of steps."""
    labels: dict[str, int] = {}
    code: list[Step] = []
    for step in steps:
        if isinstance(step, str):
            labels[step] = len(code)
        else:
            code.append(step)
    made = b""
    for at, (operation, target, source, offset, to, value) in enumerate(code):
        jump = labels[to] - at - 1 if isinstance(to, str) else to
        made += struct.pack("<BBhI", operation, source << 4 | target, offset or jump, value)
    return made
