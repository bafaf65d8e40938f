"""Counts and times of requests, per app: there is no registry of the whole process."""

from typing import cast

import flask
import prometheus_client
import structlog

from control_plane.api import context

log = structlog.get_logger()
EXTENSION = "dployr-telemetry"
HOOKS = "/v1/hooks/"


class Telemetry:
    """The instruments of one app."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.requests = prometheus_client.Counter(
            "dployr_http_requests", "Requests answered.", ["method", "endpoint", "status"], registry=self.registry
        )
        self.duration = prometheus_client.Histogram(
            "dployr_http_request_duration_seconds",
            "Time to the headers of the answer.",
            ["method", "endpoint"],
            registry=self.registry,
        )
        self.instances = prometheus_client.Gauge(
            "dployr_instances_online", "Instances with a live lease.", registry=self.registry
        )


def install(app: flask.Flask) -> None:
    app.extensions[EXTENSION] = Telemetry()


def start() -> None:
    flask.g.started = context.current().services.clock.monotonic()


def observe(response: flask.Response) -> flask.Response:
    """After every view: one log line and the counters. Paths are not labels; endpoints are few."""
    request = flask.request
    took = context.current().services.clock.monotonic() - flask.g.started
    endpoint, method = request.endpoint or "unrouted", request.method if request.endpoint else "any"
    telemetry = _current()
    telemetry.requests.labels(method, endpoint, str(response.status_code)).inc()
    telemetry.duration.labels(method, endpoint).observe(took)
    principal = flask.g.get("principal")
    log.info(
        "request.answered",
        method=request.method,
        path=shown_path(request.path),
        status=response.status_code,
        user=principal.user_id if principal else None,
        duration_ms=round(took * 1000, 1),
    )
    return response


def shown_path(path: str) -> str:
    """A path for the log: the token in the address of a hook is a secret, whatever follows it."""
    head, found, rest = path.partition(HOOKS)
    deployment, slash, _ = rest.partition("/")
    return f"{head}{found}{deployment}/…" if found and slash else path


def exposition(instances_online: int) -> str:
    telemetry = _current()
    telemetry.instances.set(instances_online)
    return prometheus_client.generate_latest(telemetry.registry).decode()


def _current() -> Telemetry:
    return cast("Telemetry", flask.current_app.extensions[EXTENSION])
