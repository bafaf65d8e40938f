"""Time and chance, injected everywhere: nothing else in this package reads a clock or draws a number."""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """Durations come from `monotonic`, what people read comes from `now`."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; survives changes of the wall clock."""
        ...

    def now(self) -> float:
        """Seconds since the epoch, UTC; for display, certificates and schedules only."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()


class Chance(Protocol):
    """Where jitter comes from; random.Random is one, too, with a seed for tests."""

    def random(self) -> float:
        """From 0 on, below 1."""
        ...

    def uniform(self, a: float, b: float) -> float: ...


class SystemChance:
    """The kernel's; the module `random` would cost the supervisor half a mebibyte."""

    def random(self) -> float:
        return (int.from_bytes(os.urandom(7)) >> 3) / (1 << 53)

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.random()
