"""What this process holds in memory stays there: no core dump, and no look into it from beside it.

The agent forbids the dumps of its children too: git and the installers know tokens. The supervisor's are the users' own
programs and get back what the supervisor was started with: `hide` is undone by the kernel at their exec.
"""

import ctypes
import os
import resource

PR_SET_DUMPABLE = 4
# Of what a host's collector of cores is given the environment is a part, and 0 keeps from files alone: only 1 keeps the
# kernel from starting the collector too.
CORE = 1


def forbid() -> None:
    """`hide`, and no core of what this process starts either. Called before there is any secret. Raises OSError."""
    hide()
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = CORE if hard == resource.RLIM_INFINITY else min(CORE, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def hide() -> None:
    """A crash leaves no core of this process, and other processes of this user can read neither its memory nor its
    environment; root still can. Raises OSError.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"cannot forbid core dumps: {os.strerror(ctypes.get_errno())}")
