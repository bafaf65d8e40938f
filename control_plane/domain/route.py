"""The grammar of routes. What passes here can stand in a server configuration without quoting."""

import re

from control_plane import errors

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NUMERIC = re.compile(r"[0-9]+")
PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
STATUSES = frozenset({"pending", "active", "failed", "quarantined"})
MAX_DOMAIN = 253
MAX_PATH = 1024


def checked_domain(text: str) -> str:
    """`text` as it is stored: lower case, IDNA, no trailing dot, `*` only as the leftmost label; else InvalidError."""
    if len(text) > 4 * MAX_DOMAIN:  # composed it is still too long; to fold one of a million letters takes a second
        raise _refused(text, "not a domain name")
    wildcard, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    ascii_name = _idna(name.removesuffix("."))
    labels = ascii_name.split(".")
    if len(wildcard + ascii_name) > MAX_DOMAIN or not all(LABEL.fullmatch(label) for label in labels):
        raise _refused(text, "not a domain name")
    if NUMERIC.fullmatch(labels[-1]):
        raise _refused(text, "an address is not a domain name")
    if wildcard and len(labels) < 2:
        raise _refused(text, "a wildcard needs a domain of at least two labels behind it")
    return wildcard + ascii_name


def checked_path(text: str) -> str:
    """`text` as it is stored: one leading slash, no empty, `.` or `..` segment, no trailing slash; else InvalidError."""
    segments = text.strip("/").split("/")
    if not PATH.fullmatch(text) or len(text) > MAX_PATH or any(s in {".", ".."} for s in segments) or "//" in text:
        raise errors.InvalidError.field(
            f"cannot route the path {text!r}: use letters, digits and . _ ~ - between slashes", "path", "not a path"
        )
    return "/" + "/".join(segments)


def _idna(name: str) -> str:
    try:
        return name.lower().encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _refused(name, "not a domain name") from None


def _refused(domain: str, issue: str) -> errors.InvalidError:
    return errors.InvalidError.field(
        f"cannot route the domain {domain[:300]!r}: {issue}; use a name such as app.example.com", "domain", issue
    )


def overlap(domain: str, other: str) -> bool:
    """Whether two domains (as stored) can be asked for by one name. A wildcard stands for exactly one label."""
    if domain == other:
        return True
    wide, narrow = (domain, other) if domain.startswith("*.") else (other, domain)
    return wide.startswith("*.") and narrow.partition(".")[2] == wide[2:]
