"""What passes between agent and supervisor: frames on a unix socket, and the fields in them.

A frame is a length (4 bytes, big endian) and a JSON object. Requests are `{"id", "verb", …}`, answers
`{"id", "ok"}` or `{"id", "error"}`; `{"event": "process", "service_id"}` comes unasked. Requests of one connection are
worked on side by side. Every reader of a field checks its type, ids and names, and raises ProtocolError.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from node_agent import paths
from node_agent.model import log_index
from node_agent.model.process import ProcessId

FRAME_LIMIT = 16 << 20  # a list of 1,000 processes that all crashed with 50 long lines
HEADER = 4
NUMBER_LIMIT, PORT_LIMIT = 2**31, 2**16 - 1
ADDRESS_LIMIT = 107  # bytes of a unix socket's path that the kernel takes

Frame = dict[str, Any]
T = TypeVar("T")


class ProtocolError(Exception):
    """What came over the socket cannot be read."""


def encode_frame(frame: Mapping[str, Any]) -> bytes:
    """The bytes of one frame. ProtocolError when it is too large."""
    body = json.dumps(frame, separators=(",", ":")).encode()
    if len(body) > FRAME_LIMIT:
        raise ProtocolError(f"cannot send a frame of {len(body)} bytes: {FRAME_LIMIT} are allowed")
    return len(body).to_bytes(HEADER, "big") + body


class FrameBuffer:
    """Turns bytes as they arrive into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. After a ProtocolError the connection is of no use any more."""
        self._data += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._data) < HEADER:
            return None
        length = int.from_bytes(self._data[:HEADER], "big")
        if length > FRAME_LIMIT:
            raise ProtocolError(f"cannot read a frame of {length} bytes: {FRAME_LIMIT} are allowed")
        if len(self._data) < HEADER + length:
            return None
        body = bytes(self._data[HEADER : HEADER + length])
        del self._data[: HEADER + length]
        try:
            frame = json.loads(body)
        except (ValueError, RecursionError):
            raise ProtocolError("cannot read a frame: it is not JSON") from None
        if not isinstance(frame, dict):
            raise ProtocolError("cannot read a frame: it is not an object")
        return frame


@contextlib.contextmanager
def address(path: pathlib.Path) -> Iterator[str]:
    """A name for the socket at `path` that the kernel takes, however long the path is. Raises OSError."""
    if len(os.fsencode(path)) <= ADDRESS_LIMIT:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


# fields


def field(frame: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """`frame[name]`, which must be exactly of `kind` (an int will do for a float)."""
    value = frame.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ProtocolError(f"cannot read {name!r}: it must be {kind.__name__}")
    return value


def number(frame: Mapping[str, Any], name: str, most: int = NUMBER_LIMIT) -> int:
    """A whole number from 0 to `most`."""
    value = field(frame, name, int)
    if not 0 <= value <= most:
        raise ProtocolError(f"cannot read {name!r}: it must be between 0 and {most}")
    return value


def service_id(frame: Mapping[str, Any]) -> str:
    """The id of a service, fit to become the name of a file."""
    with explained("service_id"):
        return paths.checked_id(field(frame, "service_id", str))


def process_id(frame: Mapping[str, Any]) -> ProcessId:
    """The id of a process, its parts fit to become names of files."""
    with explained("process_id"):
        text = field(frame, "process_id", str)
        found = ProcessId.parse(text)
        paths.checked_id(found.service_id)
        if str(found) != text or not 0 <= found.release <= NUMBER_LIMIT or not 0 <= found.restart <= NUMBER_LIMIT:
            raise ValueError(f"cannot use {text!r} as a process id")
        if not paths.NAME.fullmatch(found.name) or len(found.name) > log_index.NAME_LIMIT or found.name == "build":
            raise ValueError(f"cannot use {found.name!r} as a process name")
        return found


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """What is wrong with the field `name`, as a ProtocolError."""
    try:
        yield
    except (ValueError, ProtocolError) as error:
        raise ProtocolError(f"cannot read {name!r}: {error}") from error


def pairs(frame: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    """A list of pairs of text."""
    found = field(frame, name, list)
    if not all(isinstance(p, list) and len(p) == 2 and all(isinstance(word, str) for word in p) for p in found):
        raise ProtocolError(f"cannot read {name!r}: it must be a list of pairs of text")
    return tuple((key, value) for key, value in found)


def texts(frame: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of text."""
    found = field(frame, name, list)
    if not all(isinstance(text, str) for text in found):
        raise ProtocolError(f"cannot read {name!r}: it must be a list of text")
    return tuple(found)
