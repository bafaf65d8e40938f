"""Time and chance, injected everywhere: nothing else in this package reads a clock or draws a number."""

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Durations come from `monotonic`, what people read comes from `now`."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; survives changes of the wall clock."""
        ...

    def now(self) -> float:
        """Seconds since the epoch, UTC; for display and certificates only."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()


def system_chance() -> random.Random:
    """The source of jitter in production; tests pass a seeded one."""
    return random.SystemRandom()
