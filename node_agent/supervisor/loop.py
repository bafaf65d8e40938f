"""One loop over file descriptors, timers and signals. A callback that raises is written down and never ends the loop."""

import contextlib
import heapq
import os
import selectors
import signal
import socket
from collections.abc import Callable

from node_agent.clock import Clock

LONGEST_WAIT_S = 3600.0


def note(event: str, **words: object) -> None:
    """One line about a transition, to standard error. Never fails: the reader of standard error may be gone."""
    text = " ".join([event, *(f"{key}={value}" for key, value in words.items())])
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="replace") + b"\n")


class Timer:
    """A callback that is due at `when`, unless it was cancelled."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Not thread safe and not meant to be: everything in the supervisor happens in here, one thing at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._stopped = False
        self._handlers: dict[int, Callable[[], None]] = {}
        self._came: set[int] = set()

    def later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self._clock.monotonic() + delay_s, callback)
        self._count += 1
        heapq.heappush(self._timers, (timer.when, self._count, timer))
        return timer

    def watch(self, fd: int, readable: Callable[[], object], writable: Callable[[], object] | None = None) -> None:
        """Call `readable` (and `writable` when given) whenever `fd` is; replaces what was asked for before."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, (readable, writable))
        else:
            self._selector.register(fd, events, (readable, writable))

    def unwatch(self, fd: int) -> None:
        """No-op when `fd` is not watched."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def on_signals(self, handlers: dict[signal.Signals, Callable[[], None]]) -> None:
        """Call a handler when its signal came: from the loop, not from the interrupted code, and before all else."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        for number, handler in handlers.items():
            self._handlers[number] = handler
            signal.signal(number, lambda number, _: self._came.add(number))
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._wakeup = (reader, writer)
        self.watch(reader.fileno(), lambda: reader.recv(4096))

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped:
            self.turn(LONGEST_WAIT_S)

    def turn(self, longest_s: float) -> None:
        """Wait until something is due, but not longer, and do it."""
        ready = self._selector.select(min(longest_s, self._wait_s()))
        self._handle_signals()
        for key, events in ready:
            readable, writable = key.data
            if events & selectors.EVENT_READ:
                self._call(readable)
            if events & selectors.EVENT_WRITE and writable is not None:
                self._call(writable)
        self._run_timers()

    def _call(self, callback: Callable[[], object]) -> None:
        self.guarded(callback)
        self._handle_signals()

    def _handle_signals(self) -> None:
        """The end of a process waits for one callback at most, however many are due."""
        while self._came:
            self.guarded(self._handlers[self._came.pop()])

    def _wait_s(self) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return LONGEST_WAIT_S
        return min(LONGEST_WAIT_S, max(0.0, self._timers[0][0] - self._clock.monotonic()))

    def _run_timers(self) -> None:
        now = self._clock.monotonic()
        due = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            if timer.callback is not None:
                self._call(timer.callback)

    @staticmethod
    def guarded(callback: Callable[[], object]) -> None:
        """Call it; what it raises is written down."""
        try:
            callback()
        except Exception as error:  # whatever it is: the applications need a supervisor that goes on
            import traceback  # rarely needed, and half a mebibyte

            note("supervisor.unforeseen", error=repr(error), where=traceback.format_exc(limit=-3).replace("\n", " | "))
