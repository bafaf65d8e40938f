"""How the supervisor learns that a process ended: its own children by wait, adopted ones by a pidfd."""

import contextlib
import os
from collections.abc import Callable

from node_agent.supervisor import procfs
from node_agent.supervisor.loop import Loop

Ended = Callable[[int | None], None]  # the wait status; None when it cannot be known


class Children:
    """Call `reap` on every SIGCHLD. Orphans that come to us as subreaper are reaped and forgotten."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._own: dict[int, Ended] = {}
        self.orphan_ended: Callable[[], None] = lambda: None

    def expect(self, pid: int, ended: Ended) -> None:
        """Call `ended` with the wait status of our child `pid`. Call it right after the spawn."""
        self._own[pid] = ended

    def adopt(self, pid: int, started: int, ended: Ended) -> bool:
        """Call `ended(None)` when the process that started at `started` ends. False when it is gone already."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        if procfs.started(pid) != started:
            os.close(fd)
            return False

        def readable() -> None:
            self._loop.unwatch(fd)
            os.close(fd)
            ended(None)

        self._loop.watch(fd, readable)
        return True

    def reap(self) -> None:
        """Collect every child that ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                ended = self._own.pop(pid, None)
                if ended is None:
                    self.orphan_ended()
                else:
                    ended(status)


def describe_exit(status: int | None) -> str:
    """The exit of a process as reports show it."""
    if status is None:
        return "unknown"
    code = os.waitstatus_to_exitcode(status)
    return f"exited({code})" if code >= 0 else f"signalled({-code})"
