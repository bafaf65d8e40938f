"""What comes in, before any view: the request's id, the size and type of its body, and strict JSON.

JSON is refused when two readers could understand it differently: duplicate keys, NaN, numbers that overflow, NUL and
lone surrogates in strings, or nesting and values without end.
"""

import json
import math
import re
import urllib.parse
from typing import Any, NoReturn

import flask
import structlog
from werkzeug import exceptions as http_errors

from control_plane import errors
from control_plane.api import context, mutations

MAX_BODY_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 50_000  # to read so many holds up everybody else, whatever their size
STRING = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL
)  # also one without an end: one walk, whatever it is
NO_TEXT = re.compile("[\0\ud800-\udfff]")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Set in the environ by web/bridge.py: the body came too late, nothing was read for want of room, its own bound.
LATE_BODY = "dployr.late_body"
BUSY = "dployr.busy"
MAX_BODY = "dployr.max_body"


class StrictRequest(flask.Request):
    """flask.Request whose JSON is an object, read strictly."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002 - never lenient
        """The body as a dict. Raises InvalidError, or UnsupportedMediaType for another type than JSON."""
        if self.mimetype != "application/json":
            if not self.mimetype and _may_be_missing(self) and not self.get_data(cache=True):
                return {}
            raise http_errors.UnsupportedMediaType("send application/json")
        return parse(self.get_data(cache=True))


def _may_be_missing(request: flask.Request) -> bool:
    view = flask.current_app.view_functions.get(request.endpoint or "")
    mark = mutations.declared(view)
    return mark is not None and mark.optional_body


def begin() -> None:
    """Takes or makes the request's id, and binds it to every log line of this request."""
    given = flask.request.headers.get("X-Request-Id", "")
    request_id = given if REQUEST_ID.fullmatch(given) else context.current().services.ids.new("req")
    flask.g.request_id = request_id
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)


def refuse_unreadable() -> None:
    """A body that is too large or too late, also for views that read none; an address that could be read in two ways."""
    request = flask.request
    _check_address(request)
    bound = request.environ.get(MAX_BODY, MAX_BODY_BYTES)
    if (request.content_length or 0) > bound:
        raise http_errors.RequestEntityTooLarge
    request.max_content_length = bound
    if request.environ.get(BUSY):
        raise errors.UnavailableError("cannot read the request: too many are being sent at once; try again soon")
    if request.environ.get(LATE_BODY):
        raise errors.InvalidError("cannot read the request: its body did not arrive in time; send it again")


def _check_address(request: flask.Request) -> None:
    if request.environ.get("PATH_INFO", "").startswith("//"):  # the library would take it for one slash
        raise http_errors.NotFound
    if "\0" in request.path or b"%00" in request.query_string:
        raise errors.InvalidError.field("cannot read the request: NUL in its address", "path", "must not hold NUL")
    try:
        urllib.parse.unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError:
        raise errors.InvalidError.field(
            "cannot read the request: its query is not UTF-8", "query", "must be UTF-8"
        ) from None
    for name, given in request.args.lists():
        if len(given) > 1:
            raise errors.InvalidError.field(
                f"cannot read the request: {_shown(name)} is given twice in its address", _shown(name), "given twice"
            )


def parse(data: bytes) -> dict[str, Any]:
    """Strict JSON, an object at the top; InvalidError says what is wrong with it."""
    if len(data) > MAX_VALUES and _values(data) > MAX_VALUES:
        raise _refused(f"more than {MAX_VALUES} values")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_number
        )
    except errors.InvalidError:
        raise
    except RecursionError:
        raise _deep() from None
    except ValueError as error:  # not JSON, not UTF-8, or an integer of thousands of digits
        raise _refused(f"malformed JSON: {error}"[:200]) from None
    if not isinstance(value, dict):
        raise _refused("must be a JSON object")
    _check(value, "", 0)
    return value


def _values(data: bytes) -> int:
    """How many values and containers, before anything is made of them."""
    bare = STRING.sub(b"", data)
    return 1 + sum(bare.count(mark) for mark in (b",", b"[", b"{"))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            name = _shown(key)
            raise errors.InvalidError.field("cannot read the request: a key is given twice", name, "given twice")
        found[key] = value
    return found


def _check(value: Any, field: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _deep()
    if isinstance(value, str):
        _check_text(value, field)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{field}.{index}".lstrip("."), depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            name = f"{field}.{_shown(key)}".lstrip(".")
            _check_text(key, name)
            _check(item, name, depth + 1)


def _check_text(text: str, field: str) -> None:
    if NO_TEXT.search(text):
        raise errors.InvalidError.field(
            f"cannot read the request: {field} is not text", field, "must be text without NUL and lone surrogates"
        )


def _shown(key: str) -> str:
    return key[:128].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _refused(f"malformed JSON: {text[:20]} is too large a number")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _refused(f"malformed JSON: {name} is not a number")


def _deep() -> errors.InvalidError:
    return _refused(f"nested deeper than {MAX_DEPTH}")


def _refused(issue: str) -> errors.InvalidError:
    return errors.InvalidError.field(f"cannot read the request: {issue}", "body", issue)
