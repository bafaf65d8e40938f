"""What two servers could read differently is refused: the defence against request smuggling, below Flask.

h11 reads a few things generously (bare LF, folded lines, a length beside chunks). A proxy in front may read the same bytes
in another way, and what is a body to one is a second request to the other. So the raw head is looked at as well.
"""

import re
from typing import Any

import h11

MAX_HEADERS = 100
VERSIONS = frozenset({b"1.0", b"1.1"})
BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")
FOLDED_LINE = re.compile(rb"\n[ \t]")
LENGTH = re.compile(rb"\ncontent-length[ \t]*:([^\r\n]*)", re.IGNORECASE)
CODING = re.compile(rb"\ntransfer-encoding[ \t]*:", re.IGNORECASE)


def refusal(head: bytes, version: bytes, target: bytes, max_bytes: int) -> str:
    """Why a request with this raw head (up to its empty line) is not answered; empty when it is."""
    if BARE_LINE_END.search(head) or FOLDED_LINE.search(head):
        return "lines must end with CR LF and must not be folded"
    lengths, coded = LENGTH.findall(head), CODING.search(head)
    if len(lengths) > 1 or (lengths and coded):
        return "Content-Length and Transfer-Encoding say more than one length"
    if lengths and not lengths[0].strip(b" \t").isdigit():
        return "Content-Length must be one number"
    if version not in VERSIONS or (coded and version == b"1.0"):
        return "not a request of HTTP/1.1"
    if not target.startswith(b"/"):
        return "the target must be a path"
    if len(head) > max_bytes or head.count(b"\r\n") > MAX_HEADERS + 2:
        return f"more than {MAX_HEADERS} headers, or {max_bytes} bytes of them"
    return ""


class StrictConnection(h11.Connection):
    """h11's server side, which raises RemoteProtocolError for what `refusal` says and for trailers."""

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._max_head_bytes = max_head_bytes  # h11 looks at it only when a head comes in pieces

    def next_event(self) -> Any:
        waiting = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            head = waiting[: len(waiting) - len(self.trailing_data[0])]
            if reason := refusal(head, event.http_version, event.target, self._max_head_bytes):
                raise h11.RemoteProtocolError(reason)
        if isinstance(event, h11.EndOfMessage) and event.headers:
            raise h11.RemoteProtocolError("trailers are not read")
        return event
