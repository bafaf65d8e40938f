"""The supervisor goes ahead of what it starts: a process that floods its log must neither delay the restart of another
nor outrun the indexer. What is started gets an ordinary priority.
"""

import contextlib
import os
import pathlib

NICE = -10
AUTOGROUP = pathlib.Path("/proc/self/autogroup")


def prefer_us() -> None:
    """As far as the host lets us: without root everything stays as it is."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        if os.getsid(0) == os.getpid():  # else others share our group, and are not to be preferred
            AUTOGROUP.write_text(str(NICE))  # the kernel weighs sessions first where no cgroup says otherwise
