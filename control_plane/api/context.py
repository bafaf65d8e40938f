"""What every view has at hand: the services, the way to them, the settings of the HTTP side. No module-level state."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, cast

import flask
import flask_limiter

from control_plane import clock
from control_plane.domain import values
from control_plane.services import accounts, deployments, instances, logs, routes, services

EXTENSION = "dployr"


@dataclasses.dataclass(frozen=True, slots=True)
class Readiness:
    """What the control plane needs before it can be used."""

    database: bool
    operator: bool
    hub: bool
    instances_online: int


@dataclasses.dataclass(frozen=True, slots=True)
class HttpSettings:
    """`local_instance`: ready only with an instance online. `trusted_hops`: proxies whose X-Forwarded-For is believed."""

    requests_per_hour: int = 1000
    anonymous_per_hour: int = 60
    logins_per_minute: int = 5
    trusted_hops: int = 0
    local_instance: bool = False
    heartbeat_s: float = 15.0


@dataclasses.dataclass(frozen=True, slots=True)
class AppServices:
    """The use cases behind the views, made by wiring. `ready` answers from the database and never raises."""

    accounts: accounts.Accounts
    deployments: deployments.Deployments
    services: services.Services
    instances: instances.Instances
    routes: routes.Routes
    logs: logs.Logs
    ready: Callable[[], Awaitable[Readiness]]
    ids: clock.Ids
    clock: clock.Clock


@dataclasses.dataclass(frozen=True, slots=True)
class Api:
    """`call` runs a coroutine on the core loop and gives its result; always bounded in time."""

    services: AppServices
    call: Callable[..., Any]
    settings: HttpSettings
    limiter: flask_limiter.Limiter


def current() -> Api:
    """That of the running app."""
    return cast("Api", flask.current_app.extensions[EXTENSION])


def principal() -> values.Principal:
    """Who calls; only in views that are not public."""
    return cast("values.Principal", flask.g.principal)
