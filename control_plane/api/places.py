"""How many streams each caller may hold open: a stream costs memory and a socket for as long as its reader likes.

Counted in this process. A place is given back when its stream is closed, or when nobody can close it any more.
"""

import collections
import threading

from control_plane import errors

RETRY_AFTER_S = 15


class FullError(errors.RateLimitedError):
    retry_after_s = RETRY_AFTER_S


class Places:
    """`most` for each caller."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: collections.Counter[str] = collections.Counter()
        self._lock = threading.RLock()  # a collected place is given back wherever its thread is at the moment

    def take(self, caller: str) -> "Place":
        with self._lock:
            if self._taken[caller] >= self._most:
                raise FullError(f"cannot open another stream: you have {self._most} open; close one first")
            self._taken[caller] += 1
        return Place(self, caller)

    def give_back(self, caller: str) -> None:
        with self._lock:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


class Place:
    """Of one stream. May be given back twice."""

    def __init__(self, places: Places, caller: str) -> None:
        self._places = places
        self._caller = caller
        self._is_given_back = False

    def give_back(self) -> None:
        if not self._is_given_back:
            self._is_given_back = True
            self._places.give_back(self._caller)

    def __del__(self) -> None:
        self.give_back()
