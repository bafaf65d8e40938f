"""The grammar of what a route may name. What passes here can stand in a server configuration."""

import re

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
MAX_DOMAIN = 253
MAX_PATH = 1024


def checked_domain(text: str) -> str:
    """`text` when it is a lower-case domain, `*` at most as its leftmost label; else ValueError."""
    labels = text.removeprefix("*.").split(".")
    if len(text) > MAX_DOMAIN or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"cannot route the domain {text[:300]!r}: use a lower-case name such as app.example.com")
    if labels[-1].isdigit():
        raise ValueError(f"cannot route the domain {text!r}: an address is not a domain")
    if text.startswith("*.") and len(labels) < 2:
        raise ValueError(f"cannot route the domain {text!r}: a wildcard needs at least two labels behind it")
    return text


def checked_path(text: str) -> str:
    """`text` without a trailing slash when it is a path as requests have it after normalising; else ValueError."""
    segments = text.removeprefix("/").removesuffix("/").split("/")
    odd = text != "/" and any(segment in {"", ".", ".."} for segment in segments)
    if odd or len(text) > MAX_PATH or not PATH.fullmatch(text):
        raise ValueError(f"cannot route the path {text[:300]!r}: use letters, digits and . _ ~ - between slashes")
    return "/" + "/".join(segments)
