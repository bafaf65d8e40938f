"""System calls that may wait for somebody else's lock, in threads beside the loop: they live while there is such work.

The kernel lets a hole in a file wait for whoever writes to that file: as long as a flood is held up by the disk.
"""

import _thread
import collections
import contextlib
import os
import signal
from collections.abc import Callable

from node_agent.supervisor import priority
from node_agent.supervisor.loop import Loop

MOST = 16  # at once


class Background:
    """Works that wait beside each other; `done` is called in the loop. A work touches nothing that the loop owns, and
    never raises.
    """

    def __init__(self, loop: Loop) -> None:
        self._waiting: collections.deque[tuple[Callable[[], None], Callable[[], None]]] = collections.deque()
        self._ended: collections.deque[Callable[[], None]] = collections.deque()
        self._running = 0
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.watch(self._bell, self._collect)

    def do(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        self._waiting.append((work, done))
        self._start()

    def _start(self) -> None:
        while self._waiting and self._running < MOST:
            self._running += 1
            _thread.start_new_thread(self._run, self._waiting.popleft())

    def _run(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with contextlib.suppress(OSError):  # a new thread begins with the priority of what we start
            os.setpriority(os.PRIO_PROCESS, 0, priority.NICE)
        try:
            work()
        finally:
            self._ended.append(done)
            os.eventfd_write(self._bell, 1)

    def _collect(self) -> None:
        os.eventfd_read(self._bell)
        while self._ended:
            self._running -= 1
            self._ended.popleft()()
        self._start()
