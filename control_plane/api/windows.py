"""Fixed windows in which requests are counted: in this process, or in Redis for all replicas and over restarts.

`hit` adds and reads in one step, so that a request knows exactly what it left of its budget, whatever runs beside it.
Knows nothing of HTTP; called by limits.py alone. A store that cannot be reached never fails a request.
"""

import contextlib
import dataclasses
import math
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from control_plane import clock as clocks
from control_plane import errors

log = structlog.get_logger()

CAPACITY = 100_000  # windows in memory; one more costs the oldest
PATIENCE_S = 0.5  # for one answer of Redis
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # between questions to a store that is away
PREFIX = "dployr:window:"
MEMORY = "memory"
# The end of a window is written by its first hit, so that every replica tells the same one.
HIT = """
local count = redis.call('HINCRBY', KEYS[1], 'count', ARGV[1])
if redis.call('HSETNX', KEYS[1], 'resets_at', ARGV[2]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {count, redis.call('HGET', KEYS[1], 'resets_at')}
"""
TAKE_BACK = """
if redis.call('HGET', KEYS[1], 'resets_at') == ARGV[1] then redis.call('HINCRBY', KEYS[1], 'count', -1) end
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """`count` requests so far; it ends at `resets_at`, in whole seconds since 1970."""

    count: int
    resets_at: int


class LostError(Exception):
    """The store of the windows cannot be reached."""


class Windows(Protocol):
    def hit(self, key: str, seconds: int, amount: int = 1) -> Window:
        """Adds `amount` to the open window of `key`, or opens one of `seconds`; gives it as it is after that."""
        ...

    def take_back(self, key: str, window: Window) -> None:
        """Undoes one hit that `window` counted. One that has ended counts no more, and the next is not made larger by it."""
        ...

    def look(self, key: str) -> Window | None:
        """The open window of `key`, unchanged."""
        ...


Aside = Callable[[Callable[[], Any]], Any]


def here(work: Callable[[], Any]) -> Any:
    return work()


def open_windows(storage: str, clock: clocks.Clock, aside: Aside = here) -> Windows:
    """Those of the setting `rate_limit_storage`. Raises InvalidError when its library is not installed.

    `aside` runs what waits for another machine, where that holds nobody up, and gives what it gives.
    """
    own = MemoryWindows(clock)
    if urllib.parse.urlsplit(storage).scheme == MEMORY:
        return own
    return SharedWindows(RedisWindows(storage, clock, aside), own, clock)


class MemoryWindows:
    """Ends with the process. Bounded: of too many windows the oldest is forgotten."""

    def __init__(self, clock: clocks.Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.Lock()
        self._open: dict[str, Window] = {}  # the oldest first

    def hit(self, key: str, seconds: int, amount: int = 1) -> Window:
        now = self._clock.now().timestamp()
        with self._lock:
            found = self._alive(key, now)
            if found is None:
                self._make_room(now)
                found = Window(0, math.ceil(now + seconds))
            self._open[key] = Window(found.count + amount, found.resets_at)
            return self._open[key]

    def take_back(self, key: str, window: Window) -> None:
        with self._lock:
            found = self._alive(key, self._clock.now().timestamp())
            if found is not None and found.resets_at == window.resets_at:
                self._open[key] = Window(found.count - 1, found.resets_at)

    def look(self, key: str) -> Window | None:
        with self._lock:
            return self._alive(key, self._clock.now().timestamp())

    def put(self, key: str, window: Window) -> None:
        """Takes over what another store counted; an older look at the same window changes nothing."""
        with self._lock:
            found = self._open.get(key)
            if found is None or (found.resets_at, found.count) < (window.resets_at, window.count):
                if found is None:
                    self._make_room(self._clock.now().timestamp())
                self._open[key] = window

    def _alive(self, key: str, now: float) -> Window | None:
        found = self._open.get(key)
        if found is not None and found.resets_at <= now:
            del self._open[key]
            return None
        return found

    def _make_room(self, now: float) -> None:
        while self._open:
            oldest = next(iter(self._open))
            if len(self._open) < self._capacity and self._open[oldest].resets_at > now:
                return
            del self._open[oldest]


class RedisWindows:
    """In Redis or Valkey. Raises LostError within PATIENCE_S when it does not answer."""

    def __init__(self, url: str, clock: clocks.Clock, aside: Aside = here) -> None:
        try:
            import redis
            from redis import backoff, retry
        except ImportError as error:
            raise errors.InvalidError(
                "cannot use rate_limit_storage: the redis client is not installed; install dployr[server,redis]"
            ) from error
        self._clock = clock
        self._aside = aside
        self._lost = (redis.RedisError, OSError, errors.UnavailableError)  # the last: no thread came to it in time
        once_more = retry.Retry(backoff.NoBackoff(), 1, (redis.ConnectionError,))  # a pooled connection may be stale
        self._redis = redis.Redis.from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=once_more,
        )
        self._script = self._redis.register_script(HIT)
        self._take_back = self._redis.register_script(TAKE_BACK)

    def hit(self, key: str, seconds: int, amount: int = 1) -> Window:
        now = self._clock.now().timestamp()
        resets_at = math.ceil(now + seconds)
        with self._reached():
            asked = [amount, resets_at, int((resets_at - now) * 1000)]
            answer: Any = self._aside(lambda: self._script([PREFIX + key], asked))
            return Window(int(answer[0]), int(answer[1]))

    def take_back(self, key: str, window: Window) -> None:
        with self._reached():
            self._aside(lambda: self._take_back([PREFIX + key], [window.resets_at]))

    def look(self, key: str) -> Window | None:
        with self._reached():
            count, resets_at = self._aside(lambda: self._redis.hmget(PREFIX + key, ["count", "resets_at"]))
        return None if count is None or resets_at is None else Window(int(count), int(resets_at))

    @contextlib.contextmanager
    def _reached(self) -> Any:
        try:
            yield
        except self._lost as error:
            raise LostError(type(error).__name__) from None  # its own words may hold the address with the password


class SharedWindows:
    """Those of `shared`; while it is away those of `own`, which go on from what was last seen there.

    What was counted meanwhile is added when it is back: nobody gets a second budget by an outage.
    """

    def __init__(self, shared: Windows, own: MemoryWindows, clock: clocks.Clock) -> None:
        self._shared = shared
        self._own = own
        self._clock = clock
        self._lock = threading.Lock()
        self._owed: dict[str, Window] = {}
        self._pause_s = 0.0  # 0 while `shared` answers
        self._ask_again = 0.0

    def hit(self, key: str, seconds: int, amount: int = 1) -> Window:
        if self._may_ask():
            owed = self._take_owed(key)
            try:
                window = self._shared.hit(key, seconds, amount + owed)
            except LostError as error:
                self._note_lost(error)
                amount_owed = amount + owed
            else:
                self._note_found()
                self._own.put(key, window)
                return window
        else:
            amount_owed = amount
        window = self._own.hit(key, seconds, amount)
        self._owe(key, amount_owed, window.resets_at)
        return window

    def take_back(self, key: str, window: Window) -> None:
        self._own.take_back(key, window)
        if self._may_ask():
            try:
                self._shared.take_back(key, window)
            except LostError as error:
                self._note_lost(error)
            else:
                self._note_found()
                return
        self._owe(key, -1, window.resets_at)

    def look(self, key: str) -> Window | None:
        if self._may_ask():
            try:
                window = self._shared.look(key)
            except LostError as error:
                self._note_lost(error)
            else:
                self._note_found()
                return window
        return self._own.look(key)

    def _may_ask(self) -> bool:
        """Whether to ask `shared`: always while it answers, else one request after each pause."""
        with self._lock:
            now = self._clock.monotonic()
            if self._pause_s and now < self._ask_again:
                return False
            self._ask_again = now + self._pause_s
            return True

    def _note_lost(self, error: LostError) -> None:
        with self._lock:
            if not self._pause_s:
                log.warning("quota.store.lost", reason=str(error))
            self._pause_s = min(max(FIRST_PAUSE_S, self._pause_s * 2), LONGEST_PAUSE_S)
            self._ask_again = self._clock.monotonic() + self._pause_s

    def _note_found(self) -> None:
        with self._lock:
            if self._pause_s:
                log.info("quota.store.found")
            self._pause_s = 0.0

    def _owe(self, key: str, amount: int, resets_at: int) -> None:
        with self._lock:
            if key in self._owed or len(self._owed) < CAPACITY:
                owed = self._owed.get(key)
                before = owed.count if owed and owed.resets_at == resets_at else 0
                self._owed[key] = Window(before + amount, resets_at)

    def _take_owed(self, key: str) -> int:
        with self._lock:
            owed = self._owed.pop(key, None)
        return owed.count if owed and owed.resets_at > self._clock.now().timestamp() else 0
