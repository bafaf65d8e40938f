"""The hourly quota over all endpoints, its headers on every answer, and the throttle of failed logins.

The order of hooks matters and stands in web/app.py: authenticate, count, enforce; the headers after everything else.
flask-limiter decides; what it counts stands in windows.py, and each request keeps the windows that it was counted in: a
later look would hold the requests beside it too.
"""

import asyncio
import functools
import hashlib
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any, cast

import flask
import flask_limiter
import limits
from limits import storage as storages

from control_plane import clock as clocks
from control_plane import errors
from control_plane.api import context, windows

SCOPE = "quota"
# Asked every few seconds by load balancers and Prometheus: they show the quota and do not use it up.
UNCOUNTED = frozenset({"system.health", "system.ready", "system.metrics"})
MINUTE_S = 60
LOGIN_PATIENCE = 4  # a network may fail at several accounts
SCHEME = "dployr-windows"
WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


class WindowStorage(storages.Storage):
    """windows.py as flask-limiter's storage, which makes it by its scheme. In a request's context only."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - the library's form

    def __init__(self, uri: str | None = None, *, counted_in: windows.Windows, **_options: Any) -> None:
        super().__init__(uri)
        self.windows = counted_in

    @property
    def base_exceptions(self) -> type[Exception]:
        return windows.LostError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        window = self.windows.hit(key, expiry, amount)
        _counted()[key] = window
        return window.count

    def get(self, key: str) -> int:
        window = self._window(key)
        return window.count if window else 0

    def get_expiry(self, key: str) -> float:
        """0 when nothing is counted there."""
        window = self._window(key)
        return window.resets_at if window else 0

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        """Not supported, said as the library wants it said: nobody gets a second budget within a window."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """As `reset`."""
        raise NotImplementedError

    def _window(self, key: str) -> windows.Window | None:
        return _counted().get(key) or self.windows.look(key)


def _counted() -> dict[str, windows.Window]:
    """The windows that this request was counted in."""
    found: dict[str, windows.Window] = flask.g.setdefault("windows", {})
    return found


def build(settings: context.HttpSettings, clock: clocks.Clock) -> flask_limiter.Limiter:
    """The limiter; `init_app` is called by the app factory in its place among the hooks. Raises InvalidError."""
    counted_in = windows.open_windows(settings.rate_limit_storage, clock, _aside)
    options: dict[str, Any] = {"counted_in": counted_in}
    quota = flask_limiter.ApplicationLimit(lambda: _quota_of(settings), scope=SCOPE, exempt_when=_is_uncounted)
    return flask_limiter.Limiter(
        key_func=caller,
        application_limits=[quota],
        strategy="fixed-window",  # the only one whose reset is exact
        storage_uri=f"{SCHEME}://",
        storage_options=options,
        headers_enabled=False,  # would show a login's own limit, and Retry-After on every answer
        request_identifier=lambda: flask.request.endpoint or "unrouted",  # else unknown paths are not counted
    )


def _aside(work: Callable[[], Any]) -> Any:
    """In a thread, while the loop goes on: views do not block."""
    return context.current().call(asyncio.to_thread(work))


def throttle_logins(app: flask.Flask, limiter: flask_limiter.Limiter, endpoint: str, per_minute: int) -> None:
    """Failed logins count by account and network (by account alone anybody could lock a user out), and by network."""

    def budgets() -> dict[str, int]:
        return {f"login:{_account_and_network()}": per_minute, f"login:{_network()}": per_minute * LOGIN_PATIENCE}

    _throttle(app, limiter, endpoint, budgets, errors.UnauthenticatedError)


def throttle_passwords(app: flask.Flask, limiter: flask_limiter.Limiter, endpoint: str, per_minute: int) -> None:
    """Refused changes of a password count by user: who found a session open must not guess the password in it."""
    _throttle(app, limiter, endpoint, lambda: {f"password:{caller()}": per_minute}, errors.InvalidError)


def _throttle(
    app: flask.Flask,
    limiter: flask_limiter.Limiter,
    endpoint: str,
    budgets: Callable[[], dict[str, int]],
    failure: type[errors.DployrError],
) -> None:
    """The view of `endpoint` may fail with `failure` so often in a minute.

    Each attempt is counted before the password is looked at and taken back unless it fails: guesses at the same time
    are as few as guesses one by one.
    """
    view: Callable[..., Any] = app.view_functions[endpoint]
    counted_in = cast("WindowStorage", limiter.storage).windows

    @functools.wraps(view)
    def throttled(*args: Any, **named: Any) -> Any:
        taken: dict[str, windows.Window] = {}
        has_failed = False
        try:
            for key, amount in budgets().items():
                taken[key] = counted_in.hit(key, MINUTE_S)
                if taken[key].count > amount:
                    raise ThrottledError(_seconds_to(taken[key].resets_at))
            return view(*args, **named)
        except failure:
            has_failed = True
            raise
        finally:
            for key, window in () if has_failed else taken.items():
                counted_in.take_back(key, window)

    app.view_functions[endpoint] = throttled


class ThrottledError(errors.RateLimitedError):
    """Too many attempts failed, or are being made at this moment."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"cannot check the password now: too many attempts failed; try again in {seconds} s")
        self.retry_after_s = seconds


def quota_headers(response: flask.Response) -> flask.Response:
    """After every view, the limiter's own hook included, so that the numbers hold this request.

    Read from the counter itself: `limiter.current_limit` is the login's own limit there, or nothing at all.
    """
    api = context.current()
    item = _parsed(_quota_of(api.settings))
    window = api.limiter.limiter.get_window_stats(item, caller(), SCOPE)
    fresh = api.services.clock.now().timestamp() + item.get_expiry()  # nothing is counted yet
    response.headers["X-RateLimit-Limit"] = str(item.amount)
    response.headers["X-RateLimit-Remaining"] = str(window.remaining)
    response.headers["X-RateLimit-Reset"] = str(int(window.reset_time) or math.ceil(fresh))
    return response


def retry_after_s() -> int:
    """How long the limit that was just exceeded lasts."""
    api = context.current()
    exceeded = api.limiter.current_limit
    if exceeded is None:
        return 1
    return _seconds_to(exceeded.window.reset_time)


def _seconds_to(moment: float) -> int:
    return max(1, math.ceil(moment - context.current().services.clock.now().timestamp()))


def caller() -> str:
    """Whose quota: the principal's, else the network's."""
    principal = flask.g.get("principal")
    return f"user:{principal.user_id}" if principal else f"network:{_network()}"


def _quota_of(settings: context.HttpSettings) -> str:
    amount = settings.requests_per_hour if flask.g.get("principal") else settings.anonymous_per_hour
    return f"{amount}/hour"


@functools.lru_cache(maxsize=16)  # there are two for each app
def _parsed(quota: str) -> limits.RateLimitItem:
    return limits.parse(quota)


def _is_uncounted() -> bool:
    return flask.request.endpoint in UNCOUNTED


def _account_and_network() -> str:
    body = flask.request.get_json()
    email = str(body.get("email", "")).strip().lower() if isinstance(body, dict) else ""
    return f"{hashlib.sha256(email.encode()).hexdigest()}@{_network()}"


def _network() -> str:
    return network_of(flask.request.remote_addr or "")


def network_of(address: str) -> str:
    """Of IPv6 the /64, which one caller has whole. Some proxies write a port behind the address."""
    text = address.strip()
    with_port = WITH_PORT.fullmatch(text)
    try:
        found = ipaddress.ip_address(with_port.group("v4") or with_port.group("v6") if with_port else text)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
