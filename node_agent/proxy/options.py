"""What the options of a route say to nginx, line by line. Pure; each value has a grammar, as everything in render.py."""

import re

from node_agent.model import domain_name, spec
from node_agent.paths import checked_id
from node_agent.proxy import text
from node_agent.proxy.quoting import quoted

RENDERED = ("path", "redirect_to", "headers", "max_body", "websocket", "maintenance", "basic_auth")

URL = re.compile(r"(https?)://([^/?#:]+)(:[0-9]{1,5})?([/?#][A-Za-z0-9._~%!&()*+,;=:@/?#-]*)?")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
VALUE = re.compile(r"[ -~]{0,4096}")
USER = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
HASH = re.compile(
    r"\$[56]\$(rounds=[0-9]{4,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}"
    r"|\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}"
    r"|\{SSHA\}[A-Za-z0-9+/]{28,120}={0,2}"
)
# What frames the answer, or is nginx's own to say.
RESERVED = frozenset(
    {"connection", "content-length", "date", "keep-alive", "proxy-authenticate", "server", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
MAX_URL, MAX_HEADERS, MAX_USERS, MAX_BODY = 2048, 50, 200, 1 << 40


def answer(options: spec.RouteOptions) -> list[str] | None:
    """The lines of a route that nginx answers alone; None when its service does."""
    if options.maintenance:
        return [*text.MAINTENANCE, *_added(options)]
    if options.redirect_to:
        return [*_added(options), f'return 308 "{_target(options.redirect_to)}";']
    return None


def common(route_id: str, options: spec.RouteOptions) -> list[str]:
    """Lines that hold for files and applications."""
    lines = _added(options)
    if options.basic_auth:
        lines += ['auth_basic "Restricted";', f"auth_basic_user_file {quoted(users_file(route_id))};"]
    return lines


def proxied(options: spec.RouteOptions) -> list[str]:
    """Lines for an application only. One header to it that differs means that all are said again: nginx inherits all
    or none. What opened the door (a password) stays outside.
    """
    lines = [f"proxy_hide_header {name};" for name in dict.fromkeys(_name(name) for name, _ in options.headers)]
    if options.max_body_bytes != spec.RouteOptions().max_body_bytes:
        lines.append(f"client_max_body_size {_body(options.max_body_bytes)};")
    changed = {} if options.websocket else {"Upgrade": '""', "Connection": "close"}
    if options.basic_auth:
        changed["Authorization"] = '""'
    if changed:
        lines += [f"proxy_set_header {name} {value};" for name, value in {**dict(text.HEADERS), **changed}.items()]
    return lines


def users_file(route_id: str) -> str:
    return f"users/{checked_id(route_id)}"


def users(options: spec.RouteOptions) -> str:
    """The text of the file of users and the hashes of their passwords."""
    names = [user for user, _ in options.basic_auth]
    if len(names) > MAX_USERS or len(set(names)) != len(names):
        raise ValueError(f"cannot protect the route: give at most {MAX_USERS} users, each once")
    for user, digest in options.basic_auth:
        if not USER.fullmatch(user) or not HASH.fullmatch(digest):
            raise ValueError(
                f"cannot protect the route for {user[:64]!r}: a user has letters, digits and . _ @ + -,"
                " and a hash that begins with $6$, $5$, $apr1$ or {SSHA}"
            )
    return "".join(f"{user}:{digest}\n" for user, digest in options.basic_auth)


def _added(options: spec.RouteOptions) -> list[str]:
    """Headers of the answer, whatever its status."""
    if len(options.headers) > MAX_HEADERS:
        raise ValueError(f"cannot add {len(options.headers)} headers: {MAX_HEADERS} are allowed")
    return [f"add_header {_name(name)} {_value(name, value)} always;" for name, value in options.headers]


def _name(name: str) -> str:
    if not HEADER.fullmatch(name) or name.lower() in RESERVED:
        raise ValueError(
            f"cannot add the header {name[:64]!r}: it is no name of a header, or one that nginx sets itself"
        )
    return name


def _value(name: str, value: str) -> str:
    if not VALUE.fullmatch(value):
        raise ValueError(f"cannot add the header {name}: its value must be printable ASCII of at most 4096 characters")
    return quoted(value)


def _target(url: str) -> str:
    """Exactly there; one without a path keeps path and query of the request."""
    match = URL.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None:
        raise ValueError(f"cannot redirect to {url[:200]!r}: give an address such as https://www.example.com")
    domain_name.checked_domain(match[2])
    if match[2].startswith("*") or not 0 < int((match[3] or ":80")[1:]) < 65536:
        raise ValueError(f"cannot redirect to {url[:200]!r}: give one host, and a port from 1 to 65535")
    return url if match[4] else f"{url}$request_uri"


def _body(size: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_BODY:
        raise ValueError(f"cannot allow bodies of {size!r} bytes: give a number from 1 to {MAX_BODY}")
    return size
