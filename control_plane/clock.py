"""Time and chance, injected everywhere: nothing else in this package reads a clock or draws a number."""

import datetime
import functools
import os
import random
import time
from typing import Protocol

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Clock(Protocol):
    """Durations come from `monotonic`, what people read comes from `now`."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; survives changes of the wall clock."""
        ...

    def now(self) -> datetime.datetime:
        """Aware UTC; for display and certificates only."""
        ...


class Ids(Protocol):
    def new(self, prefix: str) -> str:
        """A fresh `<prefix>_<ULID>`; later ones sort behind earlier ones of another millisecond."""
        ...

    def secret(self, octets: int = 32) -> str:
        """Random hex text for tokens."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)


class SystemIds:
    """ULIDs (48 bits of milliseconds, 80 of chance, Crockford's base 32) from the system's random source."""

    def new(self, prefix: str) -> str:
        value = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
        return f"{prefix}_" + "".join(CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))

    def secret(self, octets: int = 32) -> str:
        return os.urandom(octets).hex()


def system_chance() -> random.Random:
    """The source of jitter in production; tests pass a seeded one."""
    return random.SystemRandom()


@functools.lru_cache(maxsize=4096)  # lists show the same moments again and again
def rfc3339(moment: datetime.datetime) -> str:
    """`moment` (aware) as RFC 3339 in UTC with milliseconds and Z."""
    utc = moment if moment.tzinfo is datetime.UTC else moment.astimezone(datetime.UTC)
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
