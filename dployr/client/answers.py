"""What goes into a request and what comes out of its answer: paths, queries, objects, lines, errors."""

import contextlib
import socket
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dployr.errors import ApiError, Unreachable

if TYPE_CHECKING:
    import httpx2

Json = dict[str, Any]

UNAVAILABLE = 503


class Lines:
    """The objects of a log. `cut` ends a followed one from another thread: its reader then gets `Unreachable`."""

    def __init__(self, lines: Iterator[Json], connection: Any = None) -> None:
        self._lines = lines
        self._connection = connection

    def __iter__(self) -> Iterator[Json]:
        return self._lines

    def cut(self) -> None:
        raw = self._connection.get_extra_info("socket") if self._connection is not None else None
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)


def checked(value: Json) -> Json:
    """A line of a stream; an error on the way is its last line, because the status is out already."""
    error = value.get("error")
    if isinstance(error, dict):
        code, details = str(error.get("code", "")), error.get("details") or {}
        raise ApiError(UNAVAILABLE, code, str(error.get("message", "the stream was ended")), details, "")
    return value


def path(base: str, *parts: str) -> str:
    return "/".join([base, *(urllib.parse.quote(part, safe="") for part in parts)])


def params(query: Json | None) -> dict[str, str]:
    return {key: _text(value) for key, value in (query or {}).items() if value is not None}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def object_of(response: "httpx2.Response") -> Json:
    """The JSON object of an answer; something else there is no answer of ours."""
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unreachable(f"cannot use the answer of {response.url}: it is not dployr's; check the server's address")
    return value


def api_error(response: "httpx2.Response") -> ApiError:
    """The error envelope as an exception; an answer without one (a proxy's 502) keeps its status."""
    try:
        envelope = response.json()
        error = envelope["error"]
        code, message, details = str(error["code"]), str(error["message"]), error.get("details") or {}
        request_id = str(envelope.get("request_id") or response.headers.get("X-Request-Id", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiError(response.status_code, "unknown", f"{response.url} answered {response.status_code}", {}, "")
    return ApiError(response.status_code, code, message, details, request_id)
