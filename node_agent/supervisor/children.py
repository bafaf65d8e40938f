"""How the supervisor learns that a process ended: its own children by wait, adopted ones by a pidfd."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable

from node_agent.supervisor import procfs
from node_agent.supervisor.loop import Loop


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """What the kernel told of a process that ended: wait status and use; status None when it cannot be known."""

    status: int | None = None
    cpu_s: float = 0.0
    max_rss_bytes: int = 0

    @property
    def code(self) -> int:
        """The exit code; below 0 the signal; 0 when it cannot be known."""
        return 0 if self.status is None else os.waitstatus_to_exitcode(self.status)

    def __str__(self) -> str:
        if self.status is None:
            return "unknown"
        return f"exited({self.code})" if self.code >= 0 else f"signalled({-self.code})"


UNKNOWN = End()
Ended = Callable[[End], None]


class Children:
    """Call `reap` on every SIGCHLD. Orphans that come to us as subreaper are reaped and forgotten."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._own: dict[int, Ended] = {}
        self.orphan_ended: Callable[[], None] = lambda: None

    def expect(self, pid: int, ended: Ended) -> None:
        """Call `ended` with the end of our child `pid`. Call it right after the spawn."""
        self._own[pid] = ended

    def adopt(self, pid: int, started: int, ended: Ended) -> bool:
        """Call `ended(UNKNOWN)` when the process that started at `started` ends. False when it is gone already."""
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
            ended(UNKNOWN)

        self._loop.watch(fd, readable)
        return True

    def reap(self) -> None:
        """Collect every child that ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                ended = self._own.pop(pid, None)
                if ended is None:
                    self.orphan_ended()
                else:
                    end = End(status, used.ru_utime + used.ru_stime, used.ru_maxrss << 10)
                    self._loop.guarded(functools.partial(ended, end))
