"""Who was found behind the credentials of the last requests, so that most requests ask no database.

Thread-safe and bounded. What it knows is at most TTL_S old; whoever changes a person, a login, a token or a membership in
this process clears it, and other processes are noticed when the time is over.
"""

import dataclasses
import threading

from control_plane.clock import Clock
from control_plane.domain import values

TTL_S = 2.0
MAX_KNOWN = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """`valid_from`: access tokens from before that second are refused. `expires_at`: of the login or token, None never."""

    principal: values.Principal
    valid_from: float = 0.0
    expires_at: values.Time | None = None


class Principals:
    """A cache. A reader takes `version` first and gives it back with what it read: a change in between wins."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Known]] = {}
        self._version = 0

    @property
    def version(self) -> int:
        return self._version

    def get(self, key: str) -> Known | None:
        with self._lock:
            found = self._known.get(key)
        if found is None or not 0 <= self._clock.monotonic() - found[0] < TTL_S:
            return None
        return found[1]

    def put(self, key: str, known: Known, version: int, read_at: float) -> None:
        """Keep what was read since `read_at`, unless something was cleared after `version` was taken."""
        with self._lock:
            if version != self._version:
                return
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[key] = (read_at, known)

    def clear(self) -> None:
        with self._lock:
            self._version += 1
            self._known.clear()
