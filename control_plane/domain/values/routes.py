"""Domains that are sent to services. Imported by way of `values`."""

import dataclasses

from control_plane.domain.values.plain import Time


@dataclasses.dataclass(frozen=True, slots=True)
class RouteOptions:
    """How the proxy serves a route. `tls` is off, auto or own (then `certificate` and `key` are PEM).

    `basic_auth` holds (user, hash) pairs; `weights` (service id, percent) pairs that share the traffic.
    """

    tls: str = "off"
    certificate: str = ""
    key: str = dataclasses.field(default="", repr=False)
    redirect_to: str = ""
    force_https: bool = False
    basic_auth: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    max_body_bytes: int = 25 << 20
    websocket: bool = True
    maintenance: bool = False
    weights: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """`status` is pending, active, failed or quarantined; `message` has nginx's own words."""

    id: str
    project_id: str
    service_id: str
    domain: str
    path: str
    port: int
    status: str
    message: str
    created_at: Time
    options: RouteOptions = RouteOptions()
    generation: int = 1
    updated_at: Time | None = None
