"""What every view has at hand: the services, the way to them, the settings of the HTTP side. No module-level state."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, cast

import flask
import flask_limiter

from control_plane import clock, ports
from control_plane.api import places, verified
from control_plane.domain import values
from control_plane.services import (
    accounts,
    archives,
    deployments,
    disks,
    env,
    history,
    hooks,
    instances,
    logs,
    members,
    projects,
    routes,
    runs,
    services,
    tokens,
    unit,
    users,
    volumes,
    webhooks,
)
from control_plane.services import context as service_context
from control_plane.services.archives import Archives
from control_plane.services.instances import Entrance

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
    """`local_instance`: ready only with an instance online. `trusted_hops`: proxies whose X-Forwarded-For is believed.

    `watch_s`: how often a stream asks whether its reader still may read it.
    `rate_limit_storage` is the address of the store of the quotas; it may hold a password and is never shown.
    """

    requests_per_hour: int = 1000
    anonymous_per_hour: int = 60
    logins_per_minute: int = 5
    trusted_hops: int = 0
    local_instance: bool = False
    heartbeat_s: float = 15.0
    watch_s: float = 2.5
    rate_limit_storage: str = dataclasses.field(default="memory://", repr=False)
    max_source_bytes: int = 512 << 20
    max_streams: int = 500


@dataclasses.dataclass(frozen=True, slots=True)
class AppServices:
    """The use cases behind the views, made by wiring. `ready` answers from the database and never raises."""

    accounts: accounts.Accounts
    deployments: deployments.Deployments
    services: services.Services
    instances: instances.Instances
    disks: disks.Disks
    routes: routes.Routes
    logs: logs.Logs
    runs: runs.Runs
    volumes: volumes.Volumes
    archives: archives.Archives
    users: users.Users
    tokens: tokens.Tokens
    projects: projects.Projects
    members: members.Members
    env: env.Env
    hooks: hooks.Hooks
    webhooks: webhooks.Webhooks
    history: history.History
    changes: unit.Changes
    ready: Callable[[], Awaitable[Readiness]]
    ids: clock.Ids
    clock: clock.Clock

    @classmethod
    def over(
        cls,
        context: service_context.Context,
        relay: ports.LogRelay,
        ready: Callable[[], Awaitable[Readiness]],
        *,
        runner: ports.Runs | None = None,
        archive: Archives | None = None,
        entrance: Callable[[], Entrance] | None = None,
    ) -> "AppServices":
        """All use cases over one context. Without `runner`, `archive` and `entrance` what needs them is unavailable."""
        people, sources = accounts.Accounts(context), archive or archives.Archives(context)
        return cls(
            accounts=people,
            deployments=deployments.Deployments(context, sources),
            services=services.Services(context),
            instances=instances.Instances(context, entrance),
            disks=disks.Disks(context),
            routes=routes.Routes(context),
            logs=logs.Logs(context, relay),
            runs=runs.Runs(context, runner),
            volumes=volumes.Volumes(context, sources, runner),
            archives=sources,
            users=users.Users(context, people.passwords),
            tokens=tokens.Tokens(context),
            projects=projects.Projects(context),
            members=members.Members(context),
            env=env.Env(context),
            hooks=hooks.Hooks(context),
            webhooks=webhooks.Webhooks(context),
            history=history.History(context),
            changes=unit.Changes(context.store, context.notifier, context.clock),
            ready=ready,
            ids=context.ids,
            clock=context.clock,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Api:
    """`call` runs a coroutine on the core loop and gives its result; always bounded in time."""

    services: AppServices
    call: Callable[..., Any]
    settings: HttpSettings
    limiter: flask_limiter.Limiter
    verified: verified.Verified
    places: places.Places


def current() -> Api:
    """That of the running app."""
    return cast("Api", flask.current_app.extensions[EXTENSION])


def principal() -> values.Principal:
    """Who calls; only in views that are not public."""
    return cast("values.Principal", flask.g.principal)
