"""The hourly quota over all endpoints, its headers on every answer, and the throttle of failed logins.

The order of hooks matters and stands in web/app.py: authenticate, count, enforce; the headers after everything else.
"""

import hashlib
import ipaddress
from collections.abc import Callable
from typing import Any

import flask
import flask_limiter
import limits

from control_plane.api import context

SCOPE = "quota"
# Asked every few seconds by load balancers and Prometheus: they show the quota and do not use it up.
UNCOUNTED = frozenset({"system.health", "system.ready", "system.metrics"})
UNAUTHORIZED = 401
LOGIN_PATIENCE = 4  # a network may fail at several accounts


def build(settings: context.HttpSettings) -> flask_limiter.Limiter:
    """The limiter; `init_app` is called by the app factory in its place among the hooks."""
    quota = flask_limiter.ApplicationLimit(lambda: _quota_of(settings), scope=SCOPE, exempt_when=_is_uncounted)
    return flask_limiter.Limiter(
        key_func=caller,
        application_limits=[quota],
        strategy="fixed-window",  # the only one whose reset is exact
        storage_uri="memory://",
        headers_enabled=False,  # would show a login's own limit, and Retry-After on every answer
        request_identifier=lambda: flask.request.endpoint or "unrouted",  # else unknown paths are not counted
    )


def throttle_logins(app: flask.Flask, limiter: flask_limiter.Limiter, endpoint: str, per_minute: int) -> None:
    """Failed logins count by account and network (by account alone anybody could lock a user out), and by network."""
    view: Callable[..., Any] = app.view_functions[endpoint]
    for count, key in ((per_minute, _account_and_network), (per_minute * LOGIN_PATIENCE, _network)):
        view = limiter.limit(
            f"{count}/minute", key_func=key, scope=key.__name__, deduct_when=_is_refused, override_defaults=False
        )(view)
    app.view_functions[endpoint] = view


def quota_headers(response: flask.Response) -> flask.Response:
    """After every view, the limiter's own hook included, so that the numbers hold this request.

    Read from the counter itself: `limiter.current_limit` is the login's own limit there, or nothing at all.
    """
    api = context.current()
    item = limits.parse(_quota_of(api.settings))
    window = api.limiter.limiter.get_window_stats(item, caller(), SCOPE)
    response.headers["X-RateLimit-Limit"] = str(item.amount)
    response.headers["X-RateLimit-Remaining"] = str(window.remaining)
    response.headers["X-RateLimit-Reset"] = str(int(window.reset_time) + 1)
    return response


def retry_after_s() -> int:
    """How long the limit that was just exceeded lasts."""
    api = context.current()
    exceeded = api.limiter.current_limit
    if exceeded is None:
        return 1
    return max(1, exceeded.reset_at - int(api.services.clock.now().timestamp()))


def caller() -> str:
    """Whose quota: the principal's, else the network's."""
    principal = flask.g.get("principal")
    return f"user:{principal.user_id}" if principal else f"network:{_network()}"


def _quota_of(settings: context.HttpSettings) -> str:
    amount = settings.requests_per_hour if flask.g.get("principal") else settings.anonymous_per_hour
    return f"{amount}/hour"


def _is_uncounted() -> bool:
    return flask.request.endpoint in UNCOUNTED


def _is_refused(response: flask.Response) -> bool:
    return response.status_code == UNAUTHORIZED


def _account_and_network() -> str:
    body = flask.request.get_json()
    email = str(body.get("email", "")).strip().lower() if isinstance(body, dict) else ""
    return f"{hashlib.sha256(email.encode()).hexdigest()}@{_network()}"


def _network() -> str:
    """An address; of IPv6 the /64, which one caller has whole."""
    try:
        address = ipaddress.ip_address(flask.request.remote_addr or "")
    except ValueError:
        return "unknown"
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
