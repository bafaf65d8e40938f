"""Bodies of `/v1/proxy/routes`."""

from typing import Annotated, Any

import pydantic
import pydantic_core

from control_plane import clock
from control_plane.api import rules, schemas, shapes
from control_plane.domain import route, route_options, values
from control_plane.services import route_certificates
from control_plane.services.routes import RouteChanges, RouteFields, RouteFilter

TLS = {
    "anyOf": [
        {"enum": [*route_options.TLS_WORDS]},
        {
            "type": "object",
            "properties": {"certificate": {"type": "string"}, "key": {"type": "string"}},
            "required": ["certificate", "key"],
            "additionalProperties": False,
        },
    ],
    "description": "off, auto, or PEM of your own; the key is write-only",
}
SIZE = {"anyOf": [{"type": "string"}, {"type": "integer"}], "description": 'Bytes, or text such as "25M"'}
OPTIONS = tuple(route_options.Given.__slots__)


def _no_null(value: Any) -> Any:
    if value is None:
        raise pydantic_core.PydanticCustomError("null", "must not be null; leave it out")
    return value


class _Options(schemas.Input):
    """How the route is served. `basic_auth` is user → password, write-only; an empty object takes it away."""

    tls: Annotated[Any, pydantic.BeforeValidator(_no_null), pydantic.WithJsonSchema(TLS)] = schemas.optional()
    redirect_to: str = schemas.optional()
    force_https: bool = schemas.optional()
    basic_auth: dict[str, str] = schemas.optional()
    headers: dict[str, str] = schemas.optional()
    max_body: Annotated[str | int, pydantic.WithJsonSchema(SIZE)] = schemas.optional()
    websocket: bool = schemas.optional()
    maintenance: bool = schemas.optional()
    weights: dict[str, int] = schemas.optional()

    def given(self) -> route_options.Given:
        return route_options.Given(**{name: getattr(self, name) for name in OPTIONS})


def _alone(name: str) -> rules.Rule:
    return lambda value: route_options.problems(route_options.Given(**{name: value}))


RULES: rules.Rules = {
    "domain": rules.raised(route.checked_domain),
    "path": rules.raised(route.checked_path),
    **{name: _alone(name) for name in OPTIONS},
}


class RouteInput(_Options):
    """`port` is the one that the deployment declares; it may be left out."""

    RULES = RULES
    domain: str
    service_id: str
    port: int = schemas.optional()
    path: str = "/"

    def fields(self) -> RouteFields:
        return RouteFields(self.domain, self.service_id, self.port, self.path, self.given())


class RoutePatch(_Options):
    """Only what is given changes."""

    RULES = RULES
    domain: str = schemas.optional()
    service_id: str = schemas.optional()
    port: int = schemas.optional()
    path: str = schemas.optional()

    def changes(self) -> RouteChanges:
        return RouteChanges(self.domain, self.service_id, self.port, self.path, self.given())


class RoutesQuery(schemas.Page):
    project: str | None = None
    service: str | None = pydantic.Field(None, description="Id or name of a service")
    domain: str | None = None
    status: str | None = pydantic.Field(None, description="pending, active, failed or quarantined")

    def wanted(self) -> RouteFilter:
        return RouteFilter(self.project, self.service, self.domain, self.status)


class RouteCertificateShape(shapes.Shape):
    """`state` is pending, valid, expired or unreadable; `expires_at` is null where that is not known."""

    state: str
    expires_at: str | None

    @classmethod
    def of(cls, certificate: route_certificates.RouteCertificate) -> "RouteCertificateShape":
        ends = certificate.expires_at
        return cls(state=certificate.state, expires_at=clock.rfc3339(ends) if ends else None)


class RouteShape(shapes.Shape):
    """`basic_auth` names the users. `tls` is off, auto or own; `certificate` is null when it is off.

    `status` is active once the proxy serves it as it is now.
    """

    id: str
    project_id: str
    domain: str
    path: str
    service_id: str
    port: int
    tls: str
    certificate: RouteCertificateShape | None
    redirect_to: str
    force_https: bool
    basic_auth: list[str]
    headers: dict[str, str]
    max_body: int
    websocket: bool
    maintenance: bool
    weights: dict[str, int]
    status: str
    message: str
    generation: int
    created_at: str
    updated_at: str | None

    @classmethod
    def of(cls, served: values.Route, now: values.Time) -> "RouteShape":
        options = served.options
        certificate = route_certificates.of(options, now)
        return cls(
            id=served.id,
            project_id=served.project_id,
            domain=served.domain,
            path=served.path,
            service_id=served.service_id,
            port=served.port,
            tls=options.tls,
            certificate=RouteCertificateShape.of(certificate) if certificate else None,
            redirect_to=options.redirect_to,
            force_https=options.force_https,
            basic_auth=[user for user, _ in options.basic_auth],
            headers=dict(options.headers),
            max_body=options.max_body_bytes,
            websocket=options.websocket,
            maintenance=options.maintenance,
            weights=dict(options.weights),
            status=served.status,
            message=served.message,
            generation=served.generation,
            created_at=clock.rfc3339(served.created_at),
            updated_at=clock.rfc3339(served.updated_at) if served.updated_at else None,
        )


class RouteList(shapes.Shape):
    data: list[RouteShape]
    next_cursor: str | None
