"""A filter of the kernel for ourselves and all that we start: nobody makes a user namespace.

In one of its own a program is root, and reaches parts of the kernel that only root should; most ways from an app to its
host begin there. We need none ourselves. Everything else is left to users and capabilities.
"""

import ctypes
import errno
import os
import struct

CLONE_NEWUSER = 0x10000000
X32 = 0x40000000  # numbers from here on are those of a third interface of x86, which nothing uses
# Audit word of each interface → its numbers of unshare, clone and clone3. clone3 hides its flags from filters: it is
# "not there", and every C library then takes clone.
NUMBERS = {
    0xC000003E: (272, 56, 435),
    0x40000003: (310, 120, 435),
    0xC00000B7: (97, 220, 435),
    0x40000028: (337, 120, 435),
}
SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_MODE_FILTER, SPEC_ALLOW, SET_SECCOMP, MODE_FILTER = (
    1,
    4,
    22,
    2,
)  # without the second, older kernels slow every program behind a filter down
LOAD, IF_EQUAL, IF_SET, IF_AT_LEAST, ANSWER = 0x20, 0x15, 0x45, 0x35, 0x06
NUMBER_AT, INTERFACE_AT, FIRST_ARGUMENT_AT = 0, 4, 16
ALLOW, REFUSE = 0x7FFF0000, 0x00050000

Step = tuple[int, int, int, int]  # code, steps to skip when true, when false, value


def program() -> bytes:
    """The filter. An interface that is not known is not there."""
    steps: list[Step] = [(LOAD, 0, 0, INTERFACE_AT)]
    for interface, numbers in NUMBERS.items():
        block = _block(*numbers)
        steps += [(IF_EQUAL, 0, len(block), interface), *block]
    steps.append((ANSWER, 0, 0, REFUSE | errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def raise_up() -> None:
    """From now on, for good. Raises OSError where the kernel or the machine has no such filters."""
    machine = os.uname().machine
    number = SECCOMP.get(machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"no filter is known for {machine}")
    text = program()
    code = ctypes.create_string_buffer(text, len(text))
    handle = ctypes.create_string_buffer(struct.pack("@HP", len(text) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    # A service manager may refuse the call; its elder, which knows no flags, belongs to what every program may use.
    if libc.syscall(number, SET_MODE_FILTER, SPEC_ALLOW, handle) and libc.prctl(SET_SECCOMP, MODE_FILTER, handle):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _block(unshare: int, clone: int, clone3: int) -> list[Step]:
    return [
        (LOAD, 0, 0, NUMBER_AT),
        (IF_AT_LEAST, 8, 0, X32),
        (IF_EQUAL, 3, 0, unshare),
        (IF_EQUAL, 2, 0, clone),
        (IF_EQUAL, 5, 0, clone3),
        (ANSWER, 0, 0, ALLOW),
        (LOAD, 0, 0, FIRST_ARGUMENT_AT),
        (IF_SET, 1, 0, CLONE_NEWUSER),
        (ANSWER, 0, 0, ALLOW),
        (ANSWER, 0, 0, REFUSE | errno.EPERM),
        (ANSWER, 0, 0, REFUSE | errno.ENOSYS),
    ]
