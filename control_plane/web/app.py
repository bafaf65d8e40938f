"""The app factory. The order of the hooks is the security of the API, so it stands here and nowhere else."""

import re
from collections.abc import Callable
from typing import Any

import flask
from flask_openapi.openapi import OpenAPI
from werkzeug.middleware import proxy_fix

from control_plane.api import (
    access,
    audit,
    auth,
    context,
    contract,
    deployments,
    env,
    errors,
    events,
    hooks,
    ignored,
    instances,
    limits,
    login,
    members,
    places,
    projects,
    requests,
    routes,
    services,
    shapes,
    system,
    telemetry,
    tokens,
    users,
    verified,
    volumes,
    webhooks,
)
from control_plane.api.context import AppServices, HttpSettings, Readiness
from control_plane.dashboard import pages
from control_plane.web.uploads import Uploads

__all__ = ["AppServices", "HttpSettings", "Readiness", "create_app"]

BLUEPRINTS = (
    *(login, users, tokens, projects, members, deployments, services, env, volumes, instances, routes),
    *(webhooks, hooks, events, audit, system),
)
UPLOADS = (
    ("POST", re.compile(r"/v1/deployments/[^/]+/source")),
    ("PUT", re.compile(r"/v1/services/[^/]+/volumes/[^/]+/archive")),
)
PROBLEMS = {
    "database": "The database does not answer.",
    "operator": "There is no operator account yet.",
    "hub": "The hub for agents does not listen.",
}


class App(OpenAPI):
    """`uploads` and `never_blocks` are read by web/server.py: what a view waits for goes through `call`."""

    request_class = requests.StrictRequest
    never_blocks = True
    uploads = Uploads()


def create_app(app_services: AppServices, call: Callable[..., Any], settings: HttpSettings) -> App:
    """The WSGI application over `app_services`; `call` is Core.call. Raises when a view has no permission."""
    app = _bare()
    app.uploads = Uploads(UPLOADS, max_bytes=settings.max_source_bytes)
    limiter = limits.build(settings, app_services.clock)
    app.extensions[context.EXTENSION] = context.Api(
        app_services,
        call,
        settings,
        limiter,
        verified.Verified(app_services.clock),
        places.Places(settings.max_streams),
    )
    auth.install(app)
    errors.install(app)
    telemetry.install(app)
    _hooks(app, limiter)
    for module in BLUEPRINTS:
        app.register_api(module.blueprint)
    app.register_blueprint(pages.blueprint(_status, access.permission.public))
    limits.throttle_logins(app, limiter, "auth.login", settings.logins_per_minute)
    limits.throttle_passwords(app, limiter, "auth.password", settings.logins_per_minute)
    access.refuse_undeclared(app)
    ignored.install(app)
    contract.install(app)
    if settings.trusted_hops:
        hops = settings.trusted_hops
        believed = proxy_fix.ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = believed  # type: ignore[method-assign]
    return app


def _bare() -> App:
    app = App(
        "control_plane.web",
        info={"title": "dployr", "version": system.product_version()},
        validation_error_status=400,
        validation_error_model=shapes.ErrorEnvelope,
        validation_error_callback=errors.of_validation,
        doc_ui=False,
        static_folder=None,
    )
    app.config.update(MAX_CONTENT_LENGTH=requests.MAX_BODY_BYTES, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False  # a redirect would lose a body; such a path does not exist
    return app


def _hooks(app: App, limiter: Any) -> None:
    """before_request in this order; after_request runs in the reverse one, so the last word is the first line's."""
    app.after_request(telemetry.observe)
    app.after_request(_security_headers)
    app.after_request(limits.quota_headers)  # before the limiter, so that it runs behind the limiter's own hook
    app.before_request(telemetry.start)
    app.before_request(requests.begin)
    app.before_request(auth.authenticate)
    limiter.init_app(app)
    app.before_request(access.enforce)
    app.before_request(requests.refuse_unreadable)
    app.before_request(ignored.refuse)


def _security_headers(response: flask.Response) -> flask.Response:
    headers = response.headers
    headers["X-Request-Id"] = flask.g.get("request_id", "")
    if flask.request.environ.get(requests.LATE_BODY):
        headers["Connection"] = "close"  # the rest of the body is not waited for
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    return response


def _status() -> pages.Status:
    """What the dashboard shows; never an error page because something is missing."""
    api = context.current()
    found: Readiness = api.call(api.services.ready())
    problems = [text for name, text in PROBLEMS.items() if not getattr(found, name)]
    if api.settings.local_instance and not found.instances_online:
        problems.append("The agent of this machine is not connected.")
    return pages.Status(system.product_version(), system.is_ready(found, api.settings), tuple(problems))
