"""System calls that may wait for somebody else's lock, in threads beside the loop: they live while there is such work.

The kernel lets a hole in a file wait for whoever writes to that file: as long as a flood is held up by the disk.
"""

import _thread
import collections
import contextlib
import os
import signal
from collections.abc import Callable, Hashable

from node_agent.supervisor import priority
from node_agent.supervisor.loop import Loop, note

MOST = 16  # at once
RETRY_S = 1.0  # after the host had no thread for us

Work = Callable[[], None]


class Background:
    """Works that wait beside each other, those with one key after each other; `done` is called in the loop. A work touches
    nothing that the loop owns, and never raises.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._is_retrying = False
        self._waiting: dict[Hashable, tuple[Work, list[Work]]] = {}
        self._running: set[Hashable] = set()
        self._ended: collections.deque[tuple[Hashable, list[Work]]] = collections.deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.watch(self._bell, self._collect)

    def do(self, key: Hashable, work: Work, done: Work) -> None:
        """A work takes the place of one with its key that still waits: it does what that would have done, and more."""
        _, before = self._waiting.get(key, (work, []))
        self._waiting[key] = (work, [*before, done])
        self._start()

    def _start(self) -> None:
        for key in [key for key in self._waiting if key not in self._running]:
            if len(self._running) < MOST:
                try:
                    _thread.start_new_thread(self._run, (key, *self._waiting[key]))
                except RuntimeError as error:
                    self._try_later(error)
                    return
                self._running.add(key)
                del self._waiting[key]

    def _try_later(self, error: RuntimeError) -> None:
        """Once, however many works come meanwhile."""
        if not self._is_retrying:
            note("background.no_thread", error=error)
            self._is_retrying = True
            self._loop.later(RETRY_S, self._retry)

    def _retry(self) -> None:
        self._is_retrying = False
        self._start()

    def _run(self, key: Hashable, work: Work, done: list[Work]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with contextlib.suppress(OSError):  # a new thread begins with the priority of what we start
            os.setpriority(os.PRIO_PROCESS, 0, priority.NICE)
        try:
            work()
        finally:
            self._ended.append((key, done))
            os.eventfd_write(self._bell, 1)

    def _collect(self) -> None:
        os.eventfd_read(self._bell)
        while self._ended:
            key, every = self._ended.popleft()
            self._running.discard(key)
            for done in every:
                done()
        self._start()
