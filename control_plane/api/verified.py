"""Claims of access tokens whose signature was checked a moment ago, so that a busy client's token is not checked each time.

Known by digest, for TTL_S at the most, and never past the token's own end: a key that is taken away counts no longer than
that. Thread-safe and bounded.
"""

import hashlib
import threading
from typing import Any

from control_plane import clock

TTL_S = 2.0
MOST = 4096


class Verified:
    """One for each app."""

    def __init__(self, now: clock.Clock) -> None:
        self._clock = now
        self._lock = threading.Lock()
        self._found: dict[bytes, tuple[float, dict[str, Any]]] = {}

    def claims(self, token: str) -> dict[str, Any] | None:
        """What `token` says; None when it must be checked."""
        with self._lock:
            checked = self._found.get(_key(token))
        if checked is None or not 0 <= self._clock.monotonic() - checked[0] < TTL_S:
            return None
        return checked[1] if self._clock.now().timestamp() < checked[1]["exp"] else None

    def put(self, token: str, claims: dict[str, Any]) -> None:
        with self._lock:
            if len(self._found) >= MOST:
                self._found.clear()
            self._found[_key(token)] = (self._clock.monotonic(), claims)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
