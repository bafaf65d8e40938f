"""What two servers could read differently is refused, direct and behind a real proxy: never two requests out of one."""

import contextlib
import re
import socket

import flask
import pytest

from control_plane.web import bridge, strict
from tests import api_fixtures, nginx_front

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"


def post(headers: bytes, body: bytes) -> bytes:
    return b"POST /seen HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body


REFUSED = {
    "a length and chunks, ended by the chunks": post(b"Content-Length: 38\r\n" + CHUNKS, b"0\r\n\r\n" + HIDDEN),
    "chunks and a length, ended by the length": post(CHUNKS + b"Content-Length: 4\r\n", b"5c\r\n" + HIDDEN + b"0\r\n\r\n"),
    "an unknown coding before chunked": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "two codings": post(CHUNKS + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n" + HIDDEN),
    "two codings in one line": post(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a coding behind a tab": post(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a coding with a quote": post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n" + HIDDEN),
    "a coding with a space before its colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a coding on a folded line": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a coding under another header's fold": post(b"X: y\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a length of two values": post(b"Content-Length: 0\r\nContent-Length: 37\r\n", HIDDEN),
    "a length of two equal values": post(b"Content-Length: 37\r\nContent-Length: 37\r\n", HIDDEN),
    "a length with a comma": post(b"Content-Length: 0, 37\r\n", HIDDEN),
    "a length with a plus": post(b"Content-Length: +0\r\n", HIDDEN),
    "a negative length": post(b"Content-Length: -1\r\n", HIDDEN),
    "a length in hex": post(b"Content-Length: 0x0\r\n", HIDDEN),
    "an empty length": post(b"Content-Length:\r\n", HIDDEN),
    "a length of a hundred digits": post(b"Content-Length: " + b"9" * 100 + b"\r\n", HIDDEN),
    "a bare LF between headers": b"POST /seen HTTP/1.1\nHost: x\nContent-Length: 0\n\n" + HIDDEN,
    "a bare LF in a value": post(b"X: a\nContent-Length: 37\r\n", HIDDEN),
    "a bare CR in a value": post(b"X: a\rContent-Length: 37\r\n", HIDDEN),
    "a NUL in a value": post(b"X: a\x00b\r\n", b""),
    "a space before a colon": post(b"X : y\r\n", b""),
    "a header without a name": post(b": y\r\n", b""),
    "a header without a colon": post(b"nothing\r\n", b""),
    "a folded header": post(b"X: a\r\n\tb\r\n", b""),
    "two hosts": b"GET /seen HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no host": b"GET /seen HTTP/1.1\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /seen HTTP/1.0\r\nHost: x\r\n" + CHUNKS + b"\r\n0\r\n\r\n" + HIDDEN,
    "a version of the future": b"GET /seen HTTP/3.7\r\nHost: x\r\n\r\n",
    "no version": b"GET /seen\r\n\r\n" + HIDDEN,
    "another server's address": b"GET http://elsewhere/seen HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without a slash": b"GET seen HTTP/1.1\r\nHost: x\r\n\r\n",
    "an authority": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
    "the server as a whole": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the target": b"GET /seen /hidden HTTP/1.1\r\nHost: x\r\n\r\n",
    "101 headers": post(b"".join(b"X-%d: y\r\n" % number for number in range(strict.MAX_HEADERS)), b""),
    "headers without end": post(b"X: " + b"y" * 70_000 + b"\r\n", b""),
    "the greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}  # fmt: skip
BROKEN_BODY = {
    "a chunk size that is no number": post(CHUNKS, b"zz\r\nabc\r\n0\r\n\r\n" + HIDDEN),
    "a negative chunk size": post(CHUNKS, b"-1\r\nabc\r\n0\r\n\r\n" + HIDDEN),
    "a chunk size with 0x": post(CHUNKS, b"0x3\r\nabc\r\n0\r\n\r\n" + HIDDEN),
    "a chunk size that overflows": post(CHUNKS, b"f" * 40 + b"\r\nabc\r\n0\r\n\r\n" + HIDDEN),
    "a chunk that is longer than its size": post(CHUNKS, b"2\r\nabcdef\r\n0\r\n\r\n" + HIDDEN),
    "a chunk without its end": post(CHUNKS, b"3\r\nabcX\r\n0\r\n\r\n" + HIDDEN),
    "a trailer": post(CHUNKS, b"0\r\nContent-Length: 37\r\n\r\n" + HIDDEN),
}
# Two requests to the proxy itself, which it answers both: then nothing is hidden.
TWO_FOR_THE_PROXY = {"a bare LF between headers", "a trailer"}


class Rig:
    """A server that remembers what it was asked, by method and path."""

    def __init__(self, port: int, seen: list[str]) -> None:
        self.port = port
        self.seen = seen

    def send(self, data: bytes) -> bytes:
        """All that comes back for `data` until the other side closes."""
        self.seen.clear()
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(65536):
                    answer += piece
            return answer


@contextlib.contextmanager
def rig():
    app, seen = flask.Flask("seen"), []
    app.config["MAX_CONTENT_LENGTH"] = bridge.MAX_BODY_BYTES

    @app.before_request
    def remember():
        seen.append(f"{flask.request.method} {flask.request.path}")

    app.add_url_rule("/seen", "seen", lambda: flask.Response(flask.request.get_data()), methods=["GET", "POST"])
    with api_fixtures.loop_thread() as loop, api_fixtures.serving(loop, app) as port:
        yield Rig(port, seen)


@pytest.fixture(scope="module")
def direct():
    with rig() as running:
        yield running


@pytest.fixture(scope="module", params=[True, False], ids=["buffered", "unbuffered"])
def proxied(request):
    if nginx_front.NGINX is None:
        pytest.skip("nginx is not installed")
    with rig() as running, nginx_front.nginx_front([running.port], buffering=request.param) as front:
        yield Rig(front, running.seen)


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_an_ambiguous_head_is_a_400_before_the_application_and_the_connection_ends(direct, data):
    answer = direct.send(data)
    assert statuses(answer) == [400]
    assert b'"code": "invalid_request"' in answer
    assert b"content-type: application/json" in answer
    assert b"connection: close" in answer.lower()
    assert direct.seen == []


@pytest.mark.parametrize("data", BROKEN_BODY.values(), ids=BROKEN_BODY.keys())
def test_a_broken_body_ends_the_connection_and_nothing_behind_it_is_a_request(direct, data):
    answer = direct.send(data)
    assert statuses(answer) == [400]
    assert direct.seen == []


@pytest.mark.parametrize("what", [*REFUSED, *BROKEN_BODY])
def test_no_request_comes_through_a_proxy_that_the_proxy_did_not_see(proxied, what):
    answer = proxied.send({**REFUSED, **BROKEN_BODY}[what])
    assert len(proxied.seen) <= len(statuses(answer))
    if what not in TWO_FOR_THE_PROXY:
        assert "GET /hidden" not in proxied.seen
        assert len(statuses(answer)) <= 1
    assert statuses(proxied.send(b"GET /seen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == [200]
    assert proxied.seen == ["GET /seen"]  # the connection that nginx shares was not poisoned


def test_what_is_plain_is_answered(direct):
    last = b"Connection: close\r\n"
    assert statuses(direct.send(post(last + CHUNKS, b"3\r\nabc\r\n0\r\n\r\n"))) == [200]
    extended = post(last + CHUNKS, b"3;name=value\r\nabc\r\n0\r\n\r\n")  # extensions mean nothing
    assert direct.send(extended).endswith(b"abc")
    assert direct.send(post(last + b"Content-Length: 3\r\n", b"abc")).endswith(b"abc")
    assert direct.send(post(last + b"content-LENGTH:\t3 \r\n", b"abc")).endswith(b"abc")
    many = b"".join(b"X-%d: y\r\n" % number for number in range(strict.MAX_HEADERS - 2))
    assert statuses(direct.send(b"GET /seen HTTP/1.1\r\nHost: x\r\n" + last + many + b"\r\n")) == [200]


def test_requests_in_a_row_on_one_connection_are_answered_one_by_one(direct):
    one = post(b"Content-Length: 3\r\n", b"abc")
    answer = direct.send(one + one + b"GET /seen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert statuses(answer) == [200, 200, 200]
    assert direct.seen == ["POST /seen", "POST /seen", "GET /seen"]


def test_a_bad_request_behind_a_good_one_is_a_400_and_the_end(direct):
    answer = direct.send(post(b"Content-Length: 3\r\n", b"abc") + REFUSED["a folded header"] + HIDDEN)
    assert statuses(answer) == [200, 400]
    assert direct.seen == ["POST /seen"]


def test_the_rest_of_a_refused_body_is_never_a_request(direct):
    body = (HIDDEN * 70_000)[:2_000_000]
    last = b"GET /seen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = direct.send(post(b"Content-Length: 2000000\r\n", body) + last)
    assert statuses(answer) == [413, 200]
    assert direct.seen == ["POST /seen", "GET /seen"]


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Content-Length: 1\r\nContent-Length: 1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTRANSFER-ENCODING: chunked\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000 + b"\r\n\r\n", True),
    ],
)
def test_the_raw_head_is_what_counts(head, refused):
    assert bool(strict.refusal(head, b"1.1", b"/", 1000)) is refused
