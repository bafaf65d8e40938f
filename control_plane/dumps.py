"""What this process holds in memory stays there: no core dump, and no look into it from beside it."""

import ctypes
import os
import resource

PR_SET_DUMPABLE = 4


def forbid() -> None:
    """From now on a crash leaves no core, of this process or of what it starts, and other processes of this user can read
    neither our memory nor our environment; root still can. Called before there is any secret. Raises OSError.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"cannot forbid core dumps: {os.strerror(ctypes.get_errno())}")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
