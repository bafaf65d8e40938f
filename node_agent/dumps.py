"""What this process holds in memory stays there: no core dump, and no look into it from beside it.

The agent forbids the dumps of its children too: git and the installers know tokens. The supervisor's are the users' own
programs and get back what the supervisor was started with: `hide` is undone by the kernel at their exec.
"""

import ctypes
import os
import resource

PR_SET_DUMPABLE = 4


def forbid() -> None:
    """`hide`, and no core of what this process starts either. Called before there is any secret. Raises OSError."""
    hide()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hide() -> None:
    """A crash leaves no core of this process, and other processes of this user can read neither its memory nor its
    environment; root still can. Raises OSError.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"cannot forbid core dumps: {os.strerror(ctypes.get_errno())}")
