"""Times as clients write them. Pure."""

import datetime
import re

from control_plane import errors
from control_plane.domain import values

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
ISSUE = "must be a time such as 2026-11-24T09:30:00Z (a + is written %2B in an address)"


def is_moment(text: str) -> bool:
    """Whether `text` looks like a time of RFC 3339."""
    return RFC3339.fullmatch(text) is not None


def parsed(text: str, field: str) -> values.Time:
    """The time that `text` says, in UTC. InvalidError names `field`."""
    try:
        if not is_moment(text):
            raise ValueError(ISSUE)
        whole, dot, rest = text.upper().partition(".")
        digits = re.match(r"\d*", rest)
        fraction = digits[0] if digits else ""
        micro = f".{fraction[:6]}" if dot else ""  # what is finer than we store is left out
        return datetime.datetime.fromisoformat(whole + micro + rest[len(fraction) :]).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise errors.InvalidError.field(f"cannot read {field} {text[:100]!r}", field, ISSUE) from None


def maybe(text: str | None, field: str) -> values.Time | None:
    return None if text is None else parsed(text, field)
