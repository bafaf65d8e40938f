"""How a route may be served: the rules of each option, all problems told together. Pure.

What passes stands in a server configuration without a doubt about its end: names and values come from small alphabets.
`hash_password` is given by the caller, because it costs time and draws chance.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from control_plane.domain import sizes, values

Problem = dict[str, Any]

TLS_WORDS = ("off", "auto")
URL = re.compile(r"https?://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~/%+=&?@:-]*)?")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
HEADER_VALUE = re.compile(r"[ !#%&'()*+,./0-9:;<=>?@A-Z\[\]^_`a-z|~-]{0,1024}")  # no quote, backslash, $ or brace
USER = re.compile(r"[A-Za-z0-9._@-]{1,64}")
OWN_HEADERS = frozenset(
    {"connection", "content-length", "content-encoding", "date", "keep-alive", "server", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "host"}
)
MAX_HEADERS = 20
MAX_USERS = 50
MAX_PASSWORD = 256
MAX_PEM = 64 * 1024
MAX_BODY = 10 << 30
WEIGHTS_TOTAL = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """What a client said; None is "not said". Fields that hold objects have the contract's own keys."""

    tls: Any = None
    redirect_to: str | None = None
    force_https: bool | None = None
    basic_auth: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    max_body: str | int | None = None
    websocket: bool | None = None
    maintenance: bool | None = None
    weights: Mapping[str, int] | None = None


def problems(given: Given) -> list[Problem]:
    """Everything that is wrong with `given`, field by field; of weights only what shows without knowing services."""
    found = [*_tls_problems(given.tls), *_auth_problems(given.basic_auth), *_header_problems(given.headers)]
    if given.redirect_to and not URL.fullmatch(given.redirect_to):
        found.append(_problem("redirect_to", "must be an address such as https://www.example.com"))
    if given.max_body is not None and not _is_body(given.max_body):
        found.append(_problem("max_body", 'must be a size up to 10G, such as "25M" or a number of bytes'))
    if given.weights:
        bad = [one for one in given.weights.values() if not 0 <= one <= WEIGHTS_TOTAL]
        if bad or sum(given.weights.values()) != WEIGHTS_TOTAL:
            found.append(_problem("weights", "must be percents that make 100 together"))
    return found


def changed(
    old: values.RouteOptions, given: Given, hash_password: Callable[[str], str], weights: tuple[tuple[str, int], ...]
) -> values.RouteOptions:
    """`old` with what was given, which has no problems. `weights` are the given ones by service id."""
    plain = {
        name: value
        for name in ("redirect_to", "force_https", "websocket", "maintenance")
        if (value := getattr(given, name)) is not None
    }
    if given.tls is not None:
        plain |= _tls(given.tls)
    if given.basic_auth is not None:
        plain["basic_auth"] = tuple(
            (user, hash_password(password)) for user, password in sorted(given.basic_auth.items())
        )
    if given.headers is not None:
        plain["headers"] = tuple(sorted(given.headers.items()))
    if given.max_body is not None:
        plain["max_body_bytes"] = sizes.octets(given.max_body)
    if given.weights is not None:
        plain["weights"] = weights
    return dataclasses.replace(old, **plain)


def used(options: values.RouteOptions) -> frozenset[str]:
    """The options that differ from the plain ones, by the names of the contract: what a proxy must be able to do."""
    plain = values.RouteOptions()
    names = {field.name for field in dataclasses.fields(options)} - {"certificate", "key"}
    differ = {name for name in names if getattr(options, name) != getattr(plain, name)}
    return frozenset("max_body" if name == "max_body_bytes" else name for name in differ)


def _tls(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        return {"tls": given, "certificate": "", "key": ""}
    return {"tls": "own", "certificate": given["certificate"], "key": given["key"]}


def _tls_problems(given: Any) -> list[Problem]:
    if given is None or given in TLS_WORDS:
        return []
    if not isinstance(given, Mapping) or set(given) != {"certificate", "key"}:
        return [_problem("tls", 'must be "off", "auto", or an object with certificate and key', supported=[*TLS_WORDS])]
    return [
        _problem(f"tls.{name}", f"must be PEM of at most {MAX_PEM} characters")
        for name, text in given.items()
        if not isinstance(text, str) or len(text) > MAX_PEM or not text.strip().startswith("-----BEGIN ")
    ]


def _auth_problems(given: Mapping[str, str] | None) -> list[Problem]:
    if given is None:
        return []
    found = [_problem("basic_auth", f"must name at most {MAX_USERS} users")] if len(given) > MAX_USERS else []
    for user, password in given.items():
        if not USER.fullmatch(user):
            found.append(_problem(f"basic_auth.{user[:64]}", "a name has 1 to 64 letters, digits and . _ @ -"))
        elif not 8 <= len(password) <= MAX_PASSWORD or not password.isprintable():
            found.append(_problem(f"basic_auth.{user}", f"a password has 8 to {MAX_PASSWORD} printable characters"))
    return found


def _header_problems(given: Mapping[str, str] | None) -> list[Problem]:
    if given is None:
        return []
    found = [_problem("headers", f"must be at most {MAX_HEADERS}")] if len(given) > MAX_HEADERS else []
    for name, value in given.items():
        if not HEADER.fullmatch(name) or name.lower() in OWN_HEADERS:
            found.append(_problem(f"headers.{name[:64]}", "is no name of a header that a route may set"))
        elif not HEADER_VALUE.fullmatch(value):
            found.append(_problem(f"headers.{name}", "holds characters that are not allowed: quotes, \\, $, { and }"))
    return found


def _is_body(size: str | int) -> bool:
    octets = sizes.octets(size)
    return octets is not None and 0 < octets <= MAX_BODY


def _problem(field: str, issue: str, **more: Any) -> Problem:
    return {"field": field, "issue": issue, **more}
