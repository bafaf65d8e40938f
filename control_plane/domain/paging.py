"""Positions in lists: ordered by (creation, id), so that a page stays where it is when rows are added."""

import base64
import datetime
import re

from control_plane import errors
from control_plane.domain import values

MAX_LIMIT = 200
DEFAULT_LIMIT = 50


def position(created_at: values.Time, object_id: str) -> str:
    """Where an object stands; compared as the pair that `split` gives."""
    return f"{created_at.astimezone(datetime.UTC).isoformat(timespec='microseconds')}|{object_id}"


def split(at: str) -> tuple[values.Time, str]:
    """The pair of a position. Raises ValueError."""
    moment, separator, object_id = at.partition("|")
    created_at = datetime.datetime.fromisoformat(moment)
    if not separator or not object_id or created_at.tzinfo is None:
        raise ValueError("not a position")
    return created_at.astimezone(datetime.UTC), object_id


def encode(at: str) -> str:
    """An opaque cursor for clients."""
    return base64.urlsafe_b64encode(at.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> str | None:
    """The position of a cursor that we made, else InvalidError."""
    if cursor is None:
        return None
    try:
        at = text_of(cursor)
        split(at)
    except (ValueError, OverflowError):
        raise refused() from None
    return at


def text_of(cursor: str) -> str:
    """What was encoded, of whatever list. Raises ValueError."""
    return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()


def refused() -> errors.InvalidError:
    return errors.InvalidError.field(
        "cannot read the cursor: use next_cursor of the page before", "cursor", "not a cursor of this list"
    )


def encode_number(sequence: int) -> str:
    """An opaque cursor of a list that is ordered by a sequence number."""
    return base64.urlsafe_b64encode(f"#{sequence}".encode()).decode().rstrip("=")


def decode_number(cursor: str | None) -> int | None:
    """The number of a cursor that we made, else InvalidError."""
    if cursor is None:
        return None
    try:
        text = text_of(cursor)
    except ValueError:
        text = ""
    if not re.fullmatch(r"#[0-9]{1,18}", text):
        raise refused()
    return int(text[1:])


def checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise errors.InvalidError.field(
            f"cannot list {limit} objects: limit is 1 to {MAX_LIMIT}", "limit", f"must be between 1 and {MAX_LIMIT}"
        )
    return limit
