"""What all response models have in common. Each resource has its own in models_<resource>.py."""

import datetime
from typing import Any

import pydantic

from control_plane import clock


class Shape(pydantic.BaseModel):
    """A response body."""


class ErrorBody(Shape):
    code: str
    message: str
    details: dict[str, Any]


class ErrorEnvelope(Shape):
    """Every error has this form."""

    error: ErrorBody
    request_id: str


def moment(seconds: float) -> str | None:
    """Seconds since 1970 as RFC 3339; None for 0, which is "not known", and for what no calendar holds."""
    if not seconds:
        return None
    try:
        return clock.rfc3339(datetime.datetime.fromtimestamp(seconds, datetime.UTC))
    except (ValueError, OverflowError, OSError):
        return None
