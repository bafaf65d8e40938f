"""Keeps builds from calling what gives them more than they should have: call_filter.py in force, where the kernel can.

The kernel asks the program of the control group (v2) that a caller is in. A build that has a cage of that kind is bound by
its cage; any other one is started in a group beside ours that has nothing but the program.
"""

import contextlib
import ctypes
import errno
import ipaddress
import itertools
import os
import pathlib
import signal
import struct
from collections.abc import Iterator

from node_agent.supervisor import cages, call_filter, groups
from node_agent.supervisor.cages import Cage
from node_agent.supervisor.cages_v2 import CageV2

SYSCALL = {"x86_64": 321, "aarch64": 280}
LOAD, ATTACH = 5, 8
KIND = 18  # programs that see an address
HOOKS = {10: 4, 11: 6, 14: 4, 15: 6}  # connect and sendmsg, each of IPv4 and IPv6
WORDS = "refused: metadata services, and the ports of applications on this host"


class Calls:
    """`group` is used for those whose cage cannot have the program; it exists while one of them runs. `words` are a
    capability. Raises OSError when made where the kernel takes no such program.
    """

    words = WORDS

    def __init__(self, place: str, group: str) -> None:
        if not place:
            raise OSError(errno.ENOENT, "cgroup v2 is not mounted")
        self._place, self._group = pathlib.Path(place), pathlib.Path(place, group)
        self.tidy()
        try:
            self._make_group()
        finally:
            self.tidy()

    @contextlib.contextmanager
    def bound(self, cage: Cage | None) -> Iterator[None]:
        """What we start inside the block is bound, with all that it starts. Raises OSError."""
        if isinstance(cage, CageV2):
            attach(cage.directory)
            yield
            return
        self._make_group()
        groups.write(f"{self._group}/cgroup.procs", "0")
        try:
            yield
        finally:
            groups.write(f"{self._place}/cgroup.procs", "0")

    def tidy(self) -> None:
        """Once a build has ended: the group goes with the last of them."""
        with contextlib.suppress(OSError):
            self._group.rmdir()

    def _make_group(self) -> None:
        self._group.mkdir(exist_ok=True)
        attach(str(self._group))


class NoCalls:
    """In the place of Calls where nothing can be refused; `words` say why."""

    def __init__(self, why: str) -> None:
        self.words = f"none: {why}"

    def bound(self, cage: Cage | None) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002 - none is
        return contextlib.nullcontext()

    def tidy(self) -> None: ...


def open_calls(root: pathlib.Path) -> Calls | NoCalls:
    """Of one data directory. Raises nothing."""
    try:
        own, mounts = (pathlib.Path(f"/proc/self/{name}").read_text() for name in ("cgroup", "mountinfo"))
        return Calls(cages.probe(own, mounts).v2, f"{cages.group_name(root)}-builds")
    except (OSError, ValueError) as error:
        return NoCalls(getattr(error, "strerror", None) or str(error))


def attach(directory: str) -> None:
    """Bind the group to what may be called from this host as it is now. Raises OSError."""
    own = own_addresses()
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for hook, family in HOOKS.items():
            code = call_filter.program(family, own)
            program = _load(code, hook)
            try:
                _bpf(ATTACH, struct.pack("<4I", group, program, hook, 0))
            finally:
                os.close(program)
    finally:
        os.close(group)


def own_addresses() -> list[call_filter.Address]:
    """As the kernel lists them; what is not there is of a kernel without that family."""
    found: dict[call_filter.Address, None] = {}
    with contextlib.suppress(FileNotFoundError):
        lines = pathlib.Path("/proc/net/fib_trie").read_text().splitlines()
        for before, line in itertools.pairwise(lines):
            if line.strip() == "/32 host LOCAL":
                found[ipaddress.ip_address(before.split()[-1])] = None
    with contextlib.suppress(FileNotFoundError):
        for line in pathlib.Path("/proc/net/if_inet6").read_text().splitlines():
            found[ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))] = None
    return list(found)


def _load(code: bytes, hook: int) -> int:
    """A descriptor that is closed by itself when a program is run. Without signals meanwhile: the kernel refuses (EAGAIN) who
    has one to take, such as that of a child's end.
    """
    words, license_ = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"")
    head = struct.pack("<IIQQ", KIND, len(code) // 8, ctypes.addressof(words), ctypes.addressof(license_))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        return _bpf(LOAD, head + struct.pack("<IIQII16sII", 0, 0, 0, 0, 0, b"dployr_calls", 0, hook))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _bpf(command: int, attributes: bytes) -> int:
    number = SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"no such call is known for {os.uname().machine}")
    libc, text = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(attributes, len(attributes))
    found: int = libc.syscall(number, command, text, len(attributes))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
